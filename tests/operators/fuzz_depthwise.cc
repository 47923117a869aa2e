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

// Fuzzes the kernels of depthwise convolution: against a plain computation in
// double, and the gradients by what they must be of a function that is linear
// in input and filter.

#include "depthwise.h"
#include "fuzz.h"
#define KERNELS "depthwise_kernel.h"
#include "multiversion.h"

namespace {

using ops::Geometry;
using ops::InstructionSet;

double Wanted(const Geometry& g, int64_t kh, int64_t kw,
              const std::vector<float>& x, const std::vector<float>& filter,
              int64_t plane, int64_t row, int64_t col) {
  double sum = 0;
  for (int64_t i = 0; i < kh; ++i) {
    for (int64_t j = 0; j < kw; ++j) {
      const int64_t y = row * g.stride + i - g.padding;
      const int64_t z = col * g.stride + j - g.padding;
      if (y < 0 || z < 0 || y >= g.height || z >= g.width) continue;
      sum += static_cast<double>(
                 filter[plane % g.channels * g.taps + i * kw + j]) *
             x[(plane * g.height + y) * g.width + z];
    }
  }
  return sum;
}

void Check(Fuzz* fuzz, InstructionSet set) {
  const int64_t kh = fuzz->Int(1, 7), kw = fuzz->Int(1, 7);
  const int stride = fuzz->Int(1, 4), padding = fuzz->Int(0, 5);
  const int64_t height = std::max<int64_t>(1, kh - 2 * padding) +
                         fuzz->Int(0, fuzz->Coin() ? 2 : 20);
  const int64_t width = std::max<int64_t>(1, kw - 2 * padding) +
                        fuzz->Int(0, fuzz->Coin() ? 2 : 40);
  const std::vector<int64_t> x_shape = {fuzz->Int(0, 2), fuzz->Int(1, 3),
                                        height, width};
  const Geometry g(x_shape, {x_shape[1], 1, kh, kw}, stride, padding);
  const int64_t planes = g.batch * g.channels;
  const std::vector<float> x = fuzz->Array(planes * height * width, -1, 1);
  const std::vector<float> filter = fuzz->Array(g.channels * g.taps, -1, 1);
  std::vector<float> out(planes * g.out_height * g.out_width, NAN);
  MULTIVERSION_OF(set, Forward)(g, x.data(), filter.data(), out.data());
  size_t at = 0;
  for (int64_t k = 0; k < planes; ++k) {
    for (int64_t y = 0; y < g.out_height; ++y) {
      for (int64_t z = 0; z < g.out_width; ++z, ++at) {
        CheckNear(out[at], Wanted(g, kh, kw, x, filter, k, y, z), g.taps,
                  "Forward");
      }
    }
  }
  const std::vector<float> out_grad = fuzz->Array(out.size(), -1, 1);
  std::vector<float> x_grad(x.size(), NAN), filter_grad(filter.size(), NAN);
  MULTIVERSION_OF(set, Backward)
  (g, x.data(), filter.data(), out_grad.data(), x_grad.data(),
   filter_grad.data());
  double size, other;
  const double wanted = Dot(out, out_grad, &size);
  CheckNear(Dot(x, x_grad, &other), wanted, size, "x_grad");
  CheckNear(Dot(filter, filter_grad, &other), wanted, size, "filter_grad");
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 300;
  omp_set_num_threads(3);
  for (int seed = 0; seed < rounds; ++seed) {
    for (int set = 0; set <= static_cast<int>(ops::BestInstructionSet());
         ++set) {
      Fuzz fuzz(seed);
      Check(&fuzz, static_cast<InstructionSet>(set));
    }
  }
  std::printf("depthwise convolution: %d rounds, %d instruction sets\n", rounds,
              static_cast<int>(ops::BestInstructionSet()) + 1);
  return 0;
}
