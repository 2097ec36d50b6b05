// graph/text/forms.cc — the table of pretty forms, as StableHLO's assembly formats define them.
#include "graph/text/forms.h"

#include <algorithm>

namespace bascule::mlir {
namespace {

constexpr std::string_view kUnary[] = {"abs",
                                       "cbrt",
                                       "ceil",
                                       "cosine",
                                       "count_leading_zeros",
                                       "exponential",
                                       "exponential_minus_one",
                                       "floor",
                                       "log",
                                       "log_plus_one",
                                       "logistic",
                                       "negate",
                                       "not",
                                       "popcnt",
                                       "round_nearest_afz",
                                       "round_nearest_even",
                                       "rsqrt",
                                       "sign",
                                       "sine",
                                       "sqrt",
                                       "tan",
                                       "tanh",
                                       "convert",
                                       "real",
                                       "imag",
                                       "is_finite"};
constexpr std::string_view kBinary[] = {"add",
                                        "atan2",
                                        "divide",
                                        "maximum",
                                        "minimum",
                                        "multiply",
                                        "power",
                                        "remainder",
                                        "subtract",
                                        "and",
                                        "or",
                                        "xor",
                                        "shift_left",
                                        "shift_right_arithmetic",
                                        "shift_right_logical"};
constexpr Form kUnaryForm{"", "% {} : S"}, kBinaryForm{"", "% , % {} : S"}, kChloForm{"", "%* {} : A"};
constexpr std::string_view kChlo[] = {"acos",
                                      "acosh",
                                      "asin",
                                      "asinh",
                                      "atan",
                                      "atanh",
                                      "bessel_i1e",
                                      "conj",
                                      "constant_like",
                                      "cosh",
                                      "digamma",
                                      "erf",
                                      "erf_inv",
                                      "erfc",
                                      "is_inf",
                                      "is_neg_inf",
                                      "is_pos_inf",
                                      "lgamma",
                                      "next_after",
                                      "polygamma",
                                      "sinh",
                                      "square",
                                      "tan",
                                      "zeta",
                                      "broadcast_add",
                                      "broadcast_and",
                                      "broadcast_atan2",
                                      "broadcast_complex",
                                      "broadcast_divide",
                                      "broadcast_maximum",
                                      "broadcast_minimum",
                                      "broadcast_multiply",
                                      "broadcast_next_after",
                                      "broadcast_or",
                                      "broadcast_polygamma",
                                      "broadcast_power",
                                      "broadcast_remainder",
                                      "broadcast_shift_left",
                                      "broadcast_shift_right_arithmetic",
                                      "broadcast_shift_right_logical",
                                      "broadcast_subtract",
                                      "broadcast_xor",
                                      "broadcast_zeta",
                                      "dynamic_reshape",
                                      "broadcast_select"};

// Sorted by name.
constexpr Form kForms[] = {
    {"call", "@callee ( %* ) {} : F"},
    {"check.expect_almost_eq", "% , % ?( , tolerance = $tolerance:n )? {} : E"},
    {"check.expect_almost_eq_const", "% , &expected {}"},
    {"check.expect_close", "% , % ?( , max_ulp_difference = $max_ulp_difference:i )? ?( , min_ulp_difference = $min_ulp_difference:i )? {} : E"},
    {"check.expect_eq", "% , % {} : E"},
    {"check.expect_eq_const", "% , &expected {}"},
    {"check.expect_serialized_eq", "% , probe_id = $probe_id:q ?( , iter = $iter:i )? {} : E"},
    {"chlo.broadcast_compare", "% , % {} : A"},
    {"chlo.constant", "{} &value"},
    {"chlo.top_k", "( % , k = $k:i ) {} : A"},
    {"func.call", "@callee ( %* ) {} : F"},
    {"func.return", "%* {} : R"},
    {"interpreter.print", "% {} : R"},
    {"interpreter.probe", "% , probe_id = $probe_id:q {} : S"},
    {"mhlo.erf", "% {} : S"},
    {"return", "%* {} : R"},
    {"sdy.sharding_constraint", "% &angle {} : S"},
    {"stablehlo.after_all", "%* {} : T"},
    {"stablehlo.bitcast_convert", "% {} : F"},
    {"stablehlo.broadcast_in_dim", "% , dims = $broadcast_dimensions:l {} : F"},
    {"stablehlo.cholesky", "% ?( , lower = $lower:b )? {} : S"},
    {"stablehlo.clamp", "% , % , % {} : S"},
    {"stablehlo.compare", "$comparison_direction:w , % , % ?( , $compare_type:w )? {} : F"},
    {"stablehlo.complex", "% , % {} : T"},
    {"stablehlo.composite", "\"name %* {} : F"},
    {"stablehlo.concatenate", "%* , dim = $dimension:i {} : F"},
    {"stablehlo.constant", "{} &value"},
    {"stablehlo.convolution", "( % , % ) dim_numbers = &conv , window = &window {} : F"},
    {"stablehlo.create_token", "{} : T"},
    {"stablehlo.custom_call", "@call_target_name ( %* ) {} : F"},
    {"stablehlo.dot", "% , % ?( , precision = $precision_config:W )? {} : F"},
    {"stablehlo.dot_general",
     "% , % ?( , batching_dims = $lhs_batching_dimensions:l x $rhs_batching_dimensions:l )? ?( , contracting_dims = $lhs_contracting_dimensions:l x "
     "$rhs_contracting_dimensions:l )? "
     "?( , precision = $precision_config:W )? ?( , algorithm = $algorithm:s )? {} : F"},
    {"stablehlo.dynamic_broadcast_in_dim", "% , % , dims = $broadcast_dimensions:l {} : F"},
    {"stablehlo.dynamic_conv", "( % , % , % ) dim_numbers = &conv , window = &window {} : F"},
    {"stablehlo.dynamic_iota", "% , dim = $iota_dimension:i {} : F"},
    {"stablehlo.dynamic_pad", "% , % , % , % , % {} : F"},
    {"stablehlo.dynamic_reshape", "% , % {} : F"},
    {"stablehlo.dynamic_slice", "%* , sizes = $slice_sizes:l {} : F"},
    {"stablehlo.dynamic_update_slice", "%* {} : F"},
    {"stablehlo.fft", "% , type = $fft_type:w , length = $fft_length:l {} : F"},
    {"stablehlo.get_dimension_size", "% , dim = $dimension:i {} : F"},
    {"stablehlo.get_tuple_element", "% [ $index:i ] {} : F"},
    {"stablehlo.iota", "dim = $iota_dimension:i {} : T"},
    {"stablehlo.optimization_barrier", "%* {} : V"},
    {"stablehlo.pad", "% , % , low = $edge_padding_low:l , high = $edge_padding_high:l , interior = $interior_padding:l {} : F"},
    {"stablehlo.partition_id", "{} : T"},
    {"stablehlo.real_dynamic_slice", "% , % , % , % {} : F"},
    {"stablehlo.reduce_precision", "% , format = &precision {} : S"},
    {"stablehlo.replica_id", "{} : T"},
    {"stablehlo.reshape", "% {} : F"},
    {"stablehlo.return", "%* {} : R"},
    {"stablehlo.reverse", "% , dims = $dimensions:l {} : S"},
    {"stablehlo.rng", "% , % , % , distribution = $rng_distribution:w {} : F"},
    {"stablehlo.rng_bit_generator", "% , algorithm = $rng_algorithm:w {} : F"},
    {"stablehlo.select", "% , % , % {} : P"},
    {"stablehlo.set_dimension_size", "% , % , dim = $dimension:i {} : F"},
    {"stablehlo.slice", "% &ranges {} : F"},
    {"stablehlo.torch_index_select", "% , % , dim = $dim:i , batch_dims = $batch_dims:i {} : F"},
    {"stablehlo.transpose", "% , dims = $permutation:l {} : F"},
    {"stablehlo.tuple", "%* {} : T"},
    {"stablehlo.uniform_dequantize", "% {} : S"},
    {"stablehlo.uniform_quantize", "% {} : S"},
};

constexpr StructAttribute kStructs[] = {
    {"dot_general", "dot_dimension_numbers", "stablehlo.dot",
     "lhs_batching_dimensions rhs_batching_dimensions lhs_contracting_dimensions rhs_contracting_dimensions"},
    {"gather", "dimension_numbers", "stablehlo.gather",
     "offset_dims collapsed_slice_dims operand_batching_dims start_indices_batching_dims start_index_map index_vector_dim"},
    {"dynamic_gather", "dimension_numbers", "stablehlo.gather",
     "offset_dims collapsed_slice_dims operand_batching_dims start_indices_batching_dims start_index_map index_vector_dim"},
    {"scatter", "scatter_dimension_numbers", "stablehlo.scatter",
     "update_window_dims inserted_window_dims input_batching_dims scatter_indices_batching_dims scatter_dims_to_operand_dims index_vector_dim"},
    {"convolution", "dimension_numbers", "stablehlo.conv",
     "input_batch_dimension input_feature_dimension input_spatial_dimensions kernel_input_feature_dimension kernel_output_feature_dimension "
     "kernel_spatial_dimensions output_batch_dimension "
     "output_feature_dimension output_spatial_dimensions"},
    {"dynamic_conv", "dimension_numbers", "stablehlo.conv",
     "input_batch_dimension input_feature_dimension input_spatial_dimensions kernel_input_feature_dimension kernel_output_feature_dimension "
     "kernel_spatial_dimensions output_batch_dimension "
     "output_feature_dimension output_spatial_dimensions"},
    {"", "channel_handle", "stablehlo.channel_handle", "handle=channel_id type=channel_type"},
};

template <size_t N>
bool among(const std::string_view (&list)[N], std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

}  // namespace

const Form* find_form(std::string_view name) {
  const auto at = std::lower_bound(std::begin(kForms), std::end(kForms), name, [](const Form& f, std::string_view n) { return f.name < n; });
  if (at != std::end(kForms) && at->name == name) return &*at;
  const size_t dot = name.find('.');
  const std::string_view dialect = name.substr(0, dot), op = dot == std::string_view::npos ? "" : name.substr(dot + 1);
  if (dialect == "stablehlo") return among(kUnary, op) ? &kUnaryForm : among(kBinary, op) ? &kBinaryForm : nullptr;
  if (dialect == "chlo") return among(kChlo, op) ? &kChloForm : nullptr;
  return nullptr;
}

std::vector<std::string_view> split_pieces(std::string_view pieces) {
  std::vector<std::string_view> out;
  while (!pieces.empty()) {
    const size_t n = std::min(pieces.find(' '), pieces.size());
    if (n > 0) out.push_back(pieces.substr(0, n));
    pieces.remove_prefix(std::min(n + 1, pieces.size()));
  }
  return out;
}

std::span<const StructAttribute> struct_attributes() { return kStructs; }

bool is_extension(std::string_view attribute) {
  constexpr std::string_view kExtensions[] = {"out_of_bounds", "overflow", "round_mode", "saturate"};
  return among(kExtensions, attribute);
}

std::string_view enumeration_type(std::string_view attribute) {
  constexpr std::pair<std::string_view, std::string_view> kTypes[] = {{"comparison_direction", "comparison_direction"},
                                                                      {"compare_type", "comparison_type"},
                                                                      {"fft_type", "fft_type"},
                                                                      {"precision_config", "precision"},
                                                                      {"rng_algorithm", "rng_algorithm"},
                                                                      {"rng_distribution", "rng_distribution"},
                                                                      {"transpose_a", "transpose"}};
  for (const auto& [name, type] : kTypes)
    if (name == attribute) return type;
  return "";
}

}  // namespace bascule::mlir
