// device/chip/map_neuron_convolution.cc — convolutions.
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

void Mapper::convolution(const Step& s) { host_step(s); }
void Mapper::window_step(const Step& s) { host_step(s); }

}  // namespace bascule::device::chip::neuron
