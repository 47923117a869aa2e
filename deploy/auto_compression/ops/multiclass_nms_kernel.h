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

// Greedy non-maximum suppression of each class of one image, without Paddle.
//
// A candidate goes if its overlap with a box that was kept is more than the
// threshold. Here a box that is kept strikes all later candidates at once, in
// vectors; the outcome is that of Paddle's comparison one by one, bit by bit:
// the same products and quotients of float, so none may be contracted to a
// fused multiply-add.

#ifndef DEPLOY_AUTO_COMPRESSION_OPS_MULTICLASS_NMS_KERNEL_H_
#define DEPLOY_AUTO_COMPRESSION_OPS_MULTICLASS_NMS_KERNEL_H_

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace nms {

struct Options {
  int background_label;  // this class is left out; none if negative
  float score_threshold;
  int top_k;  // candidates of a class; all if negative
  float threshold;
  int keep_top_k;   // boxes of an image; all if negative
  bool normalized;  // corners are coordinates; if not, pixels that belong to it
};

// Left, top, right, bottom and area of candidates, each in a row of its own.
struct Boxes {
  explicit Boxes(size_t count) : side(5 * count), stride(count) {}
  float* row(int i) { return side.data() + i * stride; }
  std::vector<float> side;
  size_t stride;
};

inline float Area(const float* box, float border) {
  if (box[2] < box[0] || box[3] < box[1]) return 0.f;
  return (box[2] - box[0] + border) * (box[3] - box[1] + border);
}

// Strikes those of the candidates from `first` to `count` that overlap with
// candidate `kept`.
__attribute__((target_clones("avx512f", "avx2", "default"),
               optimize("O3", "fp-contract=off"))) inline void
Strike(const float* __restrict left, const float* __restrict top,
       const float* __restrict right, const float* __restrict bottom,
       const float* __restrict area, int* __restrict struck, int64_t kept,
       int64_t first, int64_t count, float threshold, float border) {
  const float l = left[kept], t = top[kept], r = right[kept], b = bottom[kept];
  const float a = area[kept];
  for (int64_t i = first; i < count; ++i) {
    const float width = std::min(right[i], r) - std::max(left[i], l) + border;
    const float height = std::min(bottom[i], b) - std::max(top[i], t) + border;
    const float common = width * height;
    const float overlap = common / (area[i] + a - common);
    const int apart =
        (l > right[i]) | (r < left[i]) | (t > bottom[i]) | (b < top[i]);
    // Not `overlap > threshold`: NaN is struck.
    struck[i] |= !apart & !(overlap <= threshold);
  }
}

// What a class keeps, best first: appends the places of the boxes.
inline void SelectClass(const float* boxes, const float* scores, int64_t count,
                        const Options& options, std::vector<int>* kept) {
  std::vector<std::pair<float, int>> order;
  for (int64_t i = 0; i < count; ++i)
    if (scores[i] > options.score_threshold)
      order.emplace_back(scores[i], static_cast<int>(i));
  const auto better = [](const std::pair<float, int>& a,
                         const std::pair<float, int>& b) {
    return a.first > b.first || (a.first == b.first && a.second < b.second);
  };
  if (options.top_k >= 0 && order.size() > static_cast<size_t>(options.top_k)) {
    std::nth_element(order.begin(), order.begin() + options.top_k, order.end(),
                     better);
    order.resize(options.top_k);
  }
  std::sort(order.begin(), order.end(), better);

  const int64_t candidates = order.size();
  const float border = options.normalized ? 0.f : 1.f;
  Boxes at(candidates);
  for (int64_t i = 0; i < candidates; ++i) {
    const float* box = boxes + 4 * static_cast<int64_t>(order[i].second);
    for (int side = 0; side < 4; ++side) at.row(side)[i] = box[side];
    at.row(4)[i] = Area(box, border);
  }
  std::vector<int> struck(candidates, 0);
  for (int64_t i = 0; i < candidates; ++i) {
    if (struck[i]) continue;
    kept->push_back(order[i].second);
    Strike(at.row(0), at.row(1), at.row(2), at.row(3), at.row(4), struck.data(),
           i, i + 1, candidates, options.threshold, border);
  }
}

struct Selected {
  int label, place;
};

// The boxes of one image: class by class, best first, at most keep_top_k.
//
// boxes: [count, 4], scores: [classes, count].
inline std::vector<Selected> Select(const float* boxes, const float* scores,
                                    int64_t classes, int64_t count,
                                    const Options& options) {
  std::vector<std::vector<int>> kept(classes);
// Paddle's OpenMP library has no other than monotonic schedules.
#pragma omp parallel for schedule(monotonic : dynamic)
  for (int64_t c = 0; c < classes; ++c)
    if (c != options.background_label)
      SelectClass(boxes, scores + c * count, count, options, &kept[c]);
  std::vector<Selected> selected;
  for (int64_t c = 0; c < classes; ++c)
    for (const int place : kept[c])
      selected.push_back({static_cast<int>(c), place});
  if (options.keep_top_k < 0 ||
      selected.size() <= static_cast<size_t>(options.keep_top_k))
    return selected;

  // The best of all classes, and of equals those that come first.
  std::vector<std::pair<float, int64_t>> order(selected.size());
  for (size_t i = 0; i < selected.size(); ++i)
    order[i] = {-scores[selected[i].label * count + selected[i].place], i};
  std::nth_element(order.begin(), order.begin() + options.keep_top_k,
                   order.end());
  order.resize(options.keep_top_k);
  std::vector<int64_t> places;
  for (const auto& one : order) places.push_back(one.second);
  std::sort(places.begin(), places.end());
  std::vector<Selected> best;
  for (const int64_t place : places) best.push_back(selected[place]);
  return best;
}

}  // namespace nms

#endif  // DEPLOY_AUTO_COMPRESSION_OPS_MULTICLASS_NMS_KERNEL_H_
