# tests/install/run.cmake — installs into a folder of the build, then builds and runs a program against what was installed: by the CMake
# package and by pkg-config.
cmake_minimum_required(VERSION 3.25)
get_filename_component(here ${CMAKE_CURRENT_LIST_DIR} ABSOLUTE)
set(root ${BUILD}/install-test)
file(REMOVE_RECURSE ${root})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${root}/prefix OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} -S ${here} -B ${root}/build -DCMAKE_PREFIX_PATH=${root}/prefix -DCMAKE_CXX_COMPILER=${COMPILER} OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${root}/build OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${root}/build/consumer COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${root}/prefix/lib/pkgconfig pkg-config --cflags --libs bascule
                OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags)
execute_process(COMMAND ${COMPILER} -std=c++20 ${here}/consumer.cc -o ${root}/by_pkg_config ${flags} -Wl,-rpath,${root}/prefix/lib COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${root}/by_pkg_config COMMAND_ERROR_IS_FATAL ANY)
