// Copyright (c) 2026 PaddlePaddle Authors. All Rights Reserved.
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//     http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

// Compiles a header of kernels once for each instruction set, so that one file
// runs on any x86-64 CPU and runs well on each:
//
//   #define KERNELS "my_kernels.h"
//   #include "multiversion.h"
//   ...
//   MULTIVERSION(Function)(arguments);
//
// The header has no guard and no includes of its own: what it includes would
// be compiled for one instruction set and be linked for all. kFloats is the
// number of floats in a register there.
//
// GCC's target_clones would be shorter, but reaches neither templates nor what
// OpenMP makes of a loop.
//
// What follows the guard is read each time.
// NOLINT(build/header_guard)

#ifndef DEPLOY_AUTO_COMPRESSION_OPS_MULTIVERSION_H_
#define DEPLOY_AUTO_COMPRESSION_OPS_MULTIVERSION_H_

namespace ops {

enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

// The best that this CPU and its system have.
inline InstructionSet BestInstructionSet() {
#ifdef __x86_64__
  static const InstructionSet best =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl")
          ? InstructionSet::kAvx512
      : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
          ? InstructionSet::kAvx2
          : InstructionSet::kBaseline;
  return best;
#else
  return InstructionSet::kBaseline;
#endif
}

}  // namespace ops

// `function` as compiled for an instruction set, and for this CPU.
#ifdef __x86_64__
#define MULTIVERSION_OF(set, function)                           \
  ((set) == ops::InstructionSet::kAvx512 ? ops::avx512::function \
   : (set) == ops::InstructionSet::kAvx2 ? ops::avx2::function   \
                                         : ops::baseline::function)
#else
#define MULTIVERSION_OF(set, function) ops::baseline::function
#endif
#define MULTIVERSION(function) \
  MULTIVERSION_OF(ops::BestInstructionSet(), function)

#endif  // DEPLOY_AUTO_COMPRESSION_OPS_MULTIVERSION_H_

namespace ops {
namespace {  // NOLINT(build/namespaces_headers)

namespace baseline {
constexpr int kFloats = 4;
#include KERNELS
}  // namespace baseline

#ifdef __x86_64__
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
constexpr int kFloats = 8;
#include KERNELS
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
namespace avx512 {
constexpr int kFloats = 16;
#include KERNELS
}  // namespace avx512
#pragma GCC pop_options
#endif

}  // namespace
}  // namespace ops

#undef KERNELS
