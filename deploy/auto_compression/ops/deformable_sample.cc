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

// deformable_sample: the core of multi-scale deformable attention with its
// gradient for training on the CPU, where Paddle 2.6 has grid_sample, scalar
// loops over one channel after the other, and copies around it.
//
// A query's sample is bilinear in the four places around it, whose channels lie
// side by side: one pass over (query, head, map, point) reads and writes each
// of them once, and keeps nothing for the gradient but the inputs.
//
// Places outside a map are zero; a map spans 0 to 1, pixels' centers at 0.5 /
// size and so on: grid_sample with align_corners=False.

#include <cmath>
#include <cstdint>
#include <vector>

#include "paddle/extension.h"

namespace {

struct Level {
  int64_t height, width, start;  // the first place among those of all maps
};

// Sizes that a call has.
struct Geometry {
  Geometry(const paddle::Tensor& value, const paddle::Tensor& locations,
           const std::vector<int>& shapes)
      : batch(value.shape()[0]),
        places(value.shape()[1]),
        heads(value.shape()[2]),
        channels(value.shape()[3]),
        queries(locations.shape()[1]),
        points(locations.shape()[4]) {
    int64_t start = 0;
    for (size_t i = 0; i + 1 < shapes.size(); i += 2) {
      levels.push_back({shapes[i], shapes[i + 1], start});
      start += levels.back().height * levels.back().width;
    }
    PD_CHECK(start == places, "deformable_sample: the maps have ", start,
             " places, Value has ", places, ".");
    PD_CHECK(static_cast<int64_t>(levels.size()) == locations.shape()[3],
             "deformable_sample: there are ", levels.size(),
             " maps, Locations has ", locations.shape()[3], ".");
  }

  // Of a place's next one.
  int64_t step() const { return heads * channels; }
  // Samples of one query and head.
  int64_t samples() const {
    return static_cast<int64_t>(levels.size()) * points;
  }

  int64_t batch, places, heads, channels, queries, points;
  std::vector<Level> levels;
};

// Where a sample lies between four places, and which of them are in the map.
struct Corners {
  // False: no place of the map is next to it (or it is not a number).
  bool Find(const Level& level, int64_t step, const float* location) {
    const float x = location[0] * level.width - 0.5f;
    const float y = location[1] * level.height - 0.5f;
    if (!(x > -1 && y > -1 && x < level.width && y < level.height)) {
      return false;
    }
    const float left = std::floor(x), top = std::floor(y);
    right_part = x - left;
    lower_part = y - top;
    const int64_t x0 = static_cast<int64_t>(left);
    const int64_t y0 = static_cast<int64_t>(top);
    for (int k = 0; k < 4; ++k) {
      const int64_t xk = x0 + k % 2, yk = y0 + k / 2;
      inside[k] = xk >= 0 && yk >= 0 && xk < level.width && yk < level.height;
      offset[k] = (level.start + yk * level.width + xk) * step;
    }
    return true;
  }

  float right_part, lower_part;  // distances from the upper left place
  bool inside[4];                // upper left and right, lower left and right
  int64_t offset[4];
};

// kChannels: of a head, or 0 if they are not known here.
template <int kChannels>
void Forward(const Geometry& g, const float* value, const float* locations,
             const float* weights, float* out) {
  const int64_t n = kChannels ? kChannels : g.channels;
#pragma omp parallel for collapse(2)
  for (int64_t b = 0; b < g.batch; ++b) {
    for (int64_t q = 0; q < g.queries; ++q) {
      for (int64_t h = 0; h < g.heads; ++h) {
        const int64_t at = (b * g.queries + q) * g.heads + h;
        const float* location = locations + at * g.samples() * 2;
        const float* weight = weights + at * g.samples();
        const float* base = value + b * g.places * g.step() + h * n;
        float* __restrict sum = out + at * n;
        for (int64_t i = 0; i < n; ++i) sum[i] = 0;
        for (const Level& level : g.levels) {
          for (int64_t p = 0; p < g.points; ++p, location += 2, ++weight) {
            Corners c;
            if (!c.Find(level, g.step(), location)) continue;
            const float parts[4] = {(1 - c.lower_part) * (1 - c.right_part),
                                    (1 - c.lower_part) * c.right_part,
                                    c.lower_part * (1 - c.right_part),
                                    c.lower_part * c.right_part};
            for (int k = 0; k < 4; ++k) {
              if (!c.inside[k]) continue;
              const float* __restrict v = base + c.offset[k];
              const float part = parts[k] * *weight;
#pragma omp simd
              for (int64_t i = 0; i < n; ++i) sum[i] += part * v[i];
            }
          }
        }
      }
    }
  }
}

// value_grad is zero before; one thread has a head of an image to itself.
template <int kChannels>
void Backward(const Geometry& g, const float* value, const float* locations,
              const float* weights, const float* out_grad, float* value_grad,
              float* locations_grad, float* weights_grad) {
  const int64_t n = kChannels ? kChannels : g.channels;
#pragma omp parallel for collapse(2)
  for (int64_t b = 0; b < g.batch; ++b) {
    for (int64_t h = 0; h < g.heads; ++h) {
      const int64_t head = b * g.places * g.step() + h * n;
      for (int64_t q = 0; q < g.queries; ++q) {
        const int64_t at = (b * g.queries + q) * g.heads + h;
        const float* __restrict grad = out_grad + at * n;
        int64_t sample = at * g.samples();
        for (const Level& level : g.levels) {
          for (int64_t p = 0; p < g.points; ++p, ++sample) {
            float* location_grad = locations_grad + 2 * sample;
            location_grad[0] = location_grad[1] = weights_grad[sample] = 0;
            Corners c;
            if (!c.Find(level, g.step(), locations + 2 * sample)) continue;
            const float right = c.right_part, lower = c.lower_part;
            const float parts[4] = {(1 - lower) * (1 - right),
                                    (1 - lower) * right, lower * (1 - right),
                                    lower * right};
            float dots[4];  // of each place's channels with the gradient
            for (int k = 0; k < 4; ++k) {
              dots[k] = 0;
              if (!c.inside[k]) continue;
              const float* __restrict v = value + head + c.offset[k];
              float* __restrict v_grad = value_grad + head + c.offset[k];
              const float part = parts[k] * weights[sample];
              float dot = 0;
#pragma omp simd reduction(+ : dot)
              for (int64_t i = 0; i < n; ++i) {
                dot += v[i] * grad[i];
                v_grad[i] += part * grad[i];
              }
              dots[k] = dot;
            }
            for (int k = 0; k < 4; ++k) {
              weights_grad[sample] += parts[k] * dots[k];
            }
            location_grad[0] = weights[sample] * level.width *
                               ((1 - lower) * (dots[1] - dots[0]) +
                                lower * (dots[3] - dots[2]));
            location_grad[1] = weights[sample] * level.height *
                               ((1 - right) * (dots[2] - dots[0]) +
                                right * (dots[3] - dots[1]));
          }
        }
      }
    }
  }
}

void Check(const paddle::Tensor& value, const paddle::Tensor& locations,
           const paddle::Tensor& weights) {
  const auto v = value.shape(), l = locations.shape(), w = weights.shape();
  for (const auto* t : {&value, &locations, &weights}) {
    PD_CHECK(t->is_cpu() && t->dtype() == paddle::DataType::FLOAT32,
             "deformable_sample: all inputs must be float32 on the CPU.");
  }
  PD_CHECK(v.size() == 4 && l.size() == 6 && l[0] == v[0] && l[2] == v[2] &&
               l[5] == 2 && w == std::vector<int64_t>(l.begin(), l.end() - 1),
           "deformable_sample: Value must be [N, places, heads, C], Locations "
           "[N, Q, heads, maps, points, 2] and Weights the same without 2.");
}

std::vector<paddle::Tensor> Sample(const paddle::Tensor& value,
                                   const paddle::Tensor& locations,
                                   const paddle::Tensor& weights,
                                   const std::vector<int>& shapes) {
  Check(value, locations, weights);
  const Geometry g(value, locations, shapes);
  paddle::Tensor out = paddle::empty({g.batch, g.queries, g.step()},
                                     value.dtype(), value.place());
  const auto run = g.channels == 8    ? Forward<8>
                   : g.channels == 16 ? Forward<16>
                   : g.channels == 32 ? Forward<32>
                                      : Forward<0>;
  run(g, value.data<float>(), locations.data<float>(), weights.data<float>(),
      out.data<float>());
  return {out};
}

std::vector<paddle::Tensor> SampleGrad(const paddle::Tensor& value,
                                       const paddle::Tensor& locations,
                                       const paddle::Tensor& weights,
                                       const paddle::Tensor& out_grad,
                                       const std::vector<int>& shapes) {
  Check(value, locations, weights);
  const Geometry g(value, locations, shapes);
  paddle::Tensor value_grad =
      paddle::full(value.shape(), 0, value.dtype(), value.place());
  paddle::Tensor locations_grad =
      paddle::empty(locations.shape(), value.dtype(), value.place());
  paddle::Tensor weights_grad =
      paddle::empty(weights.shape(), value.dtype(), value.place());
  const auto run = g.channels == 8    ? Backward<8>
                   : g.channels == 16 ? Backward<16>
                   : g.channels == 32 ? Backward<32>
                                      : Backward<0>;
  run(g, value.data<float>(), locations.data<float>(), weights.data<float>(),
      out_grad.data<float>(), value_grad.data<float>(),
      locations_grad.data<float>(), weights_grad.data<float>());
  return {value_grad, locations_grad, weights_grad};
}

std::vector<std::vector<int64_t>> InferShape(
    const std::vector<int64_t>& value, const std::vector<int64_t>& locations,
    const std::vector<int64_t>& weights, const std::vector<int>& shapes) {
  const bool known = value[2] >= 0 && value[3] >= 0;
  return {{value[0], locations[1], known ? value[2] * value[3] : -1}};
}

std::vector<paddle::DataType> InferDtype(const paddle::DataType& value,
                                         const paddle::DataType& locations,
                                         const paddle::DataType& weights) {
  return {value};
}

}  // namespace

PD_BUILD_OP(deformable_sample)
    .Inputs({"Value", "Locations", "Weights"})
    .Outputs({"Out"})
    .Attrs({"shapes: std::vector<int>"})
    .SetKernelFn(PD_KERNEL(Sample))
    .SetInferShapeFn(PD_INFER_SHAPE(InferShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(InferDtype));

PD_BUILD_GRAD_OP(deformable_sample)
    .Inputs({"Value", "Locations", "Weights", paddle::Grad("Out")})
    .Outputs({paddle::Grad("Value"), paddle::Grad("Locations"),
              paddle::Grad("Weights")})
    .Attrs({"shapes: std::vector<int>"})
    .SetKernelFn(PD_KERNEL(SampleGrad));
