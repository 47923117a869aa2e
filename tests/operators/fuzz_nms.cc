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

// Fuzzes the selection of boxes against a comparison one by one.

#include "fuzz.h"
#include "multiclass_nms_kernel.h"

namespace {

float Overlap(const float* a, const float* b, float border) {
  if (b[0] > a[2] || b[2] < a[0] || b[1] > a[3] || b[3] < a[1]) return 0;
  const float common = (std::min(a[2], b[2]) - std::max(a[0], b[0]) + border) *
                       (std::min(a[3], b[3]) - std::max(a[1], b[1]) + border);
  return common / (nms::Area(a, border) + nms::Area(b, border) - common);
}

std::vector<int> Wanted(const float* boxes, const float* scores, int count,
                        const nms::Options& options) {
  std::vector<int> order, kept;
  for (int i = 0; i < count; ++i)
    if (scores[i] > options.score_threshold) order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return scores[a] > scores[b]; });
  if (options.top_k >= 0 && order.size() > static_cast<size_t>(options.top_k))
    order.resize(options.top_k);
  for (const int i : order) {
    bool keep = true;
    for (const int j : kept)
      keep = keep && Overlap(boxes + 4 * i, boxes + 4 * j,
                             options.normalized ? 0 : 1) <= options.threshold;
    if (keep) kept.push_back(i);
  }
  return kept;
}

void Check(Fuzz* fuzz) {
  const int count = fuzz->Int(0, fuzz->Coin() ? 3 : 70);
  const int classes = fuzz->Int(0, 4);
  std::vector<float> boxes = fuzz->Array(4 * count, 0, 50);
  const bool proper = fuzz->Coin();
  for (int i = 0; i < count && proper; ++i)
    for (int side = 0; side < 2; ++side)
      boxes[4 * i + 2 + side] = boxes[4 * i + side] + fuzz->Uniform(0, 30);
  std::vector<float> scores = fuzz->Array(classes * count, 0, 1);
  if (fuzz->Coin())
    for (float& score : scores) score = std::round(score * 4) / 4;
  for (auto* values : {&boxes, &scores})
    if (!values->empty() && fuzz->Int(0, 3) == 0)
      (*values)[fuzz->Int(0, values->size() - 1)] =
          fuzz->Pick<float>({NAN, INFINITY, -INFINITY});
  const nms::Options options = {
      static_cast<int>(fuzz->Int(-1, 2)), fuzz->Pick<float>({-1, 0, 0.5}),
      fuzz->Pick<int>({-1, 0, 1, 10}),    fuzz->Pick<float>({0, 0.3f, 1}),
      fuzz->Pick<int>({-1, 0, 1, 20}),    fuzz->Coin()};
  const auto found =
      nms::Select(boxes.data(), scores.data(), classes, count, options);
  // Of all classes, then the best of them.
  std::vector<nms::Selected> wanted;
  for (int c = 0; c < classes; ++c)
    if (c != options.background_label)
      for (const int i :
           Wanted(boxes.data(), scores.data() + c * count, count, options))
        wanted.push_back({c, i});
  const size_t most = options.keep_top_k;
  if (options.keep_top_k >= 0 && wanted.size() > most) {
    std::vector<int> order(wanted.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    const auto score = [&](int i) {
      return scores[wanted[i].label * count + wanted[i].place];
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return score(a) > score(b); });
    order.resize(most);
    std::sort(order.begin(), order.end());
    std::vector<nms::Selected> best;
    for (const int i : order) best.push_back(wanted[i]);
    wanted = best;
  }
  if (found.size() != wanted.size()) Fail("number of boxes");
  for (size_t i = 0; i < found.size(); ++i)
    if (found[i].label != wanted[i].label || found[i].place != wanted[i].place)
      Fail("box " + std::to_string(i));
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 3000;
  omp_set_num_threads(3);
  for (int seed = 0; seed < rounds; ++seed) {
    Fuzz fuzz(seed);
    Check(&fuzz);
  }
  std::printf("selection of boxes: %d rounds\n", rounds);
  return 0;
}
