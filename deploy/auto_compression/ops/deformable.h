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

// What a call of multi-scale deformable attention is made of, without Paddle.

#ifndef DEPLOY_AUTO_COMPRESSION_OPS_DEFORMABLE_H_
#define DEPLOY_AUTO_COMPRESSION_OPS_DEFORMABLE_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace ops {

struct Level {
  int64_t height, width, start;  // the first place among those of all maps
};

// A query samples `points` places around its reference in each map, for each
// head; its result is their weighted sum. A map spans 0 to 1, pixels' centers
// at 0.5 / size and so on, and is zero outside: grid_sample with
// align_corners=False. What is not a number is outside.
struct Attention {
  int64_t batch = 0, places = 0, heads = 0, channels = 0;  // channels of a head
  int64_t queries = 0, points = 0;
  std::vector<Level> levels;
  const float* value = nullptr;  // [batch, places, heads, channels]
  // [batch, queries, heads, levels, points, 2], x and y. Without reference
  // the locations themselves.
  const float* offsets = nullptr;
  // [batch, queries, heads, levels, points]; with `softmax` its logits, of
  // all levels and points of a head.
  const float* weights = nullptr;
  bool softmax = false;
  // [reference_batch, queries, reference_levels, reference_size] or nullptr.
  // Of size 2: a point, and offsets count pixels. Of size 4: center and size of
  // a box, and `points` offsets reach from its center to its side. The first
  // two are 1, or as many as there are.
  const float* reference = nullptr;
  int64_t reference_batch = 1, reference_levels = 1, reference_size = 2;

  // From one place to the next.
  int64_t step() const { return heads * channels; }
  // Of one query and head.
  int64_t samples() const {
    return static_cast<int64_t>(levels.size()) * points;
  }

  // Sets `levels` from heights and widths. Returns what is wrong, or "".
  template <typename Int>
  std::string SetLevels(const Int* sides, int64_t count) {
    levels.clear();
    if (count < 1) return "there are no maps.";
    // Kernels count places in 32 bits, and coordinates are floats.
    if (places > INT32_MAX) return "Value has more than 2^31 - 1 places.";
    const int64_t longest = 1 << 24;
    int64_t start = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t height = sides[2 * i], width = sides[2 * i + 1];
      // By division: a product might overflow.
      if (height < 1 || width < 1 || height > longest || width > longest ||
          width > (places - start) / height) {
        return "map " + std::to_string(i) + " of " + std::to_string(height) +
               " x " + std::to_string(width) +
               " is empty, too long, or has more places than Value's " +
               std::to_string(places) + ".";
      }
      levels.push_back({height, width, start});
      start += height * width;
    }
    if (start != places) {
      return "the maps have " + std::to_string(start) + " places, Value has " +
             std::to_string(places) + ".";
    }
    return "";
  }
};

}  // namespace ops

#endif  // DEPLOY_AUTO_COMPRESSION_OPS_DEFORMABLE_H_
