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

// Sizes of a depthwise convolution and of its scratch, without Paddle; the
// kernels and how they work: depthwise_kernel.h.

#ifndef DEPLOY_AUTO_COMPRESSION_OPS_DEPTHWISE_H_
#define DEPLOY_AUTO_COMPRESSION_OPS_DEPTHWISE_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace ops {

// Floats of a vector.
constexpr int64_t kLanes = 8;
// Taps whose filter gradient is accumulated at once: a 3x3 kernel, and the
// accumulators still fit in 16 registers.
constexpr int kTapGroup = 9;

inline int64_t RoundUp(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Sizes that the planes of one call share, and where each tap lies.
struct Geometry {
  // The kernel must fit into the padded input.
  Geometry(const std::vector<int64_t>& x_shape,
           const std::vector<int64_t>& filter_shape, int stride, int padding)
      : batch(x_shape[0]),
        channels(x_shape[1]),
        height(x_shape[2]),
        width(x_shape[3]),
        taps(filter_shape[2] * filter_shape[3]),
        stride(stride),
        padding(padding) {
    const int64_t kh = filter_shape[2], kw = filter_shape[3];
    const int64_t spare_h = height + 2 * padding - kh;
    const int64_t spare_w = width + 2 * padding - kw;
    out_height = spare_h / stride + 1;
    out_width = spare_w / stride + 1;
    rows = (height + 2 * padding - 1) / stride + 1;
    cols = (width + 2 * padding - 1) / stride + 1;
    plane = rows * cols;
    out_length = RoundUp((out_height - 1) * cols + out_width);
    max_shift = (kh - 1) / stride * cols + (kw - 1) / stride;

    phase_taps.resize(stride * stride);
    phase_shifts.resize(stride * stride);
    for (int64_t i = 0; i < kh; ++i) {
      for (int64_t j = 0; j < kw; ++j) {
        const int64_t phase = i % stride * stride + j % stride;
        const int64_t shift = i / stride * cols + j / stride;
        offsets.push_back(phase * plane + shift);
        phase_taps[phase].push_back(i * kw + j);
        phase_shifts[phase].push_back(-shift);
      }
    }
    // Whole groups of taps; what the added ones give is dropped.
    while (offsets.size() % kTapGroup != 0) offsets.push_back(0);
  }

  // Floats in a scratch buffer for all phases, with room for whole vectors.
  int64_t phases_size() const { return stride * stride * plane + kLanes; }

  int64_t batch, channels, height, width, taps, stride, padding;
  int64_t out_height, out_width;
  int64_t rows, cols, plane;  // of one phase plane
  int64_t out_length;         // of the output with rows of `cols`, in vectors
  int64_t max_shift;          // of a tap inside its phase plane
  std::vector<int64_t> offsets;  // of each tap in the phases' buffer
  // The taps of each phase, and the opposite of each one's shift in the phase.
  std::vector<std::vector<int64_t>> phase_taps, phase_shifts;
};

}  // namespace ops

#endif  // DEPLOY_AUTO_COMPRESSION_OPS_DEPTHWISE_H_
