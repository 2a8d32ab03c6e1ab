#include "kernels.hpp"

namespace cardrec {

const Kernels& kernels() { return portable_kernels; }

}  // namespace cardrec
