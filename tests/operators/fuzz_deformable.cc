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

// Fuzzes the kernels of deformable attention: against a plain computation in
// double, and the gradients by what they must be of a function that is linear
// in value and weights. Sizes are odd and places hostile.

#include "deformable.h"
#include "fuzz.h"
#define KERNELS "deformable_kernel.h"
#include "multiversion.h"

namespace {

using ops::Attention;
using ops::InstructionSet;

const float kInfinity = INFINITY;

// A call with its arrays.
struct Call {
  explicit Call(Fuzz* fuzz) {
    a.batch = fuzz->Int(0, 2);
    a.heads = fuzz->Int(1, 3);
    a.channels = fuzz->Pick<int64_t>(
        {1, 2, 3, 5, 8, 15, 16, 17, 24, 31, 32, 33, 48, 64, 127, 130});
    a.queries = fuzz->Int(0, 7);
    a.points = fuzz->Int(1, 5);
    std::vector<int64_t> sides;
    const int64_t levels = fuzz->Int(1, 5);
    for (int64_t l = 0; l < levels; ++l) {
      for (int i = 0; i < 2; ++i) {
        sides.push_back(fuzz->Coin() ? fuzz->Int(1, 3) : fuzz->Int(1, 12));
      }
      a.places += sides[2 * l] * sides[2 * l + 1];
    }
    const std::string problem = a.SetLevels(sides.data(), levels);
    if (!problem.empty()) Fail("SetLevels: " + problem);

    value = fuzz->Array(a.batch * a.places * a.step(), -1, 1);
    const int64_t heads = a.batch * a.queries * a.heads;
    weights = fuzz->Array(heads * a.samples(), -3, 3);
    offsets = fuzz->Array(heads * a.samples() * 2, -0.5, 1.5);
    for (float& x : offsets) {
      if (fuzz->Int(0, 3) == 0) {
        x = fuzz->Pick<float>({-1e30f, -1e9f, -1, -0.5f, 0, 0.5f, 1, 2, 1e9f,
                               1e30f, kInfinity, -kInfinity, NAN});
      }
    }
    a.softmax = fuzz->Coin();
    if (a.softmax) {
      for (float& x : weights) {
        // Each head keeps a finite one, as a softmax needs.
        if ((&x - weights.data()) % a.samples() && fuzz->Int(0, 5) == 0) {
          x = fuzz->Pick<float>({-kInfinity, -1e30f, -100, 80});
        }
      }
    }
    if (fuzz->Coin()) {
      a.reference_batch = fuzz->Coin() ? 1 : a.batch;
      a.reference_levels = fuzz->Coin() ? 1 : levels;
      a.reference_size = fuzz->Coin() ? 2 : 4;
      reference = fuzz->Array(
          a.reference_batch * a.queries * a.reference_levels * a.reference_size,
          -0.2, 1.2);
      for (float& x : reference) {
        // Of another size than hostile offsets, which must not cancel them.
        if (fuzz->Int(0, 15) == 0) {
          x = fuzz->Pick<float>({-1e20f, 0, 1, 1e20f, kInfinity, NAN});
        }
      }
      a.reference = reference.data();
    }
    if (a.reference == nullptr && levels > 1 && fuzz->Coin()) LeaveOutLast();
    a.value = value.data();
    a.offsets = offsets.data();
    a.weights = weights.data();
  }

  // All samples of the last map lie outside, so what it holds must not matter.
  void LeaveOutLast() {
    for (int64_t b = 0; b < a.batch; ++b) {
      std::fill(
          value.begin() + (b * a.places + a.levels.back().start) * a.step(),
          value.begin() + (b + 1) * a.places * a.step(), NAN);
    }
    for (size_t i = 0; i < weights.size(); ++i) {
      if (static_cast<int64_t>(i) % a.samples() >= a.samples() - a.points) {
        offsets[2 * i] = 3;
      }
    }
  }

  // The weighted value at (x, y) of a map in pixels, none outside.
  double At(int64_t b, int64_t h, int64_t c, const ops::Level& level, double x,
            double y) const {
    if (!std::isfinite(x) || !std::isfinite(y)) return 0;
    double sum = 0;
    for (int64_t j = 0; j < level.height; ++j) {
      for (int64_t i = 0; i < level.width; ++i) {
        const double part = std::max(0.0, 1 - std::fabs(x - i)) *
                            std::max(0.0, 1 - std::fabs(y - j));
        const int64_t place = level.start + j * level.width + i;
        if (part == 0) continue;
        sum += part *
               value[(b * a.places + place) * a.step() + h * a.channels + c];
      }
    }
    return sum;
  }

  double Wanted(int64_t b, int64_t q, int64_t h, int64_t c) const {
    const int64_t first = ((b * a.queries + q) * a.heads + h) * a.samples();
    double highest = weights[first], total = 0;
    for (int64_t s = 0; s < a.samples(); ++s) {
      highest = std::max<double>(highest, weights[first + s]);
    }
    for (int64_t s = 0; s < a.samples(); ++s) {
      total += std::exp(weights[first + s] - highest);
    }
    double sum = 0;
    for (int64_t s = 0; s < a.samples(); ++s) {
      const int64_t l = s / a.points;
      const ops::Level& level = a.levels[l];
      double x = offsets[2 * (first + s)], y = offsets[2 * (first + s) + 1];
      if (a.reference != nullptr) {
        const int64_t row = (a.reference_batch == 1 ? 0 : b) * a.queries + q;
        const float* r = a.reference + (row * a.reference_levels +
                                        (a.reference_levels == 1 ? 0 : l)) *
                                           a.reference_size;
        const bool box = a.reference_size == 4;
        x = r[0] + x * (box ? r[2] / (2.0 * a.points) : 1.0 / level.width);
        y = r[1] + y * (box ? r[3] / (2.0 * a.points) : 1.0 / level.height);
      }
      const double weight = a.softmax
                                ? std::exp(weights[first + s] - highest) / total
                                : weights[first + s];
      sum += weight *
             At(b, h, c, level, x * level.width - 0.5, y * level.height - 0.5);
    }
    return sum;
  }

  Attention a;
  std::vector<float> value, offsets, weights, reference;
};

void CheckForward(const Call& call, InstructionSet set) {
  const Attention& a = call.a;
  std::vector<float> out(a.batch * a.queries * a.step(), NAN);
  MULTIVERSION_OF(set, Attend)(a, out.data());
  size_t i = 0;
  for (int64_t b = 0; b < a.batch; ++b) {
    for (int64_t q = 0; q < a.queries; ++q) {
      for (int64_t h = 0; h < a.heads; ++h) {
        for (int64_t c = 0; c < a.channels; ++c, ++i) {
          CheckNear(out[i], call.Wanted(b, q, h, c), a.samples(), "Attend");
        }
      }
    }
  }
}

// out is linear in value and in weights, so each one's product with its
// gradient is the product of out with its own.
void CheckBackward(const Call& call, Fuzz* fuzz, InstructionSet set) {
  Attention a = call.a;
  a.softmax = false;
  a.reference = nullptr;
  std::vector<float> weights = call.weights;
  for (float& x : weights) {
    if (!(std::fabs(x) < 100)) x = 1;
  }
  a.weights = weights.data();
  std::vector<float> out(a.batch * a.queries * a.step());
  const std::vector<float> out_grad = fuzz->Array(out.size(), -1, 1);
  std::vector<float> value_grad(call.value.size(), 0);
  std::vector<float> offsets_grad(call.offsets.size(), NAN);
  std::vector<float> weights_grad(weights.size(), NAN);
  MULTIVERSION_OF(set, Attend)(a, out.data());
  MULTIVERSION_OF(set, Backward)
  (a, out_grad.data(), value_grad.data(), offsets_grad.data(),
   weights_grad.data());
  double size, other;
  const double wanted = Dot(out, out_grad, &size);
  std::vector<float> value = call.value;
  for (float& x : value) {
    if (std::isnan(x)) x = 0;
  }
  CheckNear(Dot(value, value_grad, &other), wanted, size, "value_grad");
  CheckNear(Dot(weights, weights_grad, &other), wanted, size, "weights_grad");
  for (const float x : offsets_grad) {
    if (!std::isfinite(x)) Fail("offsets_grad is not finite");
  }
}

void CheckSizes() {
  const int64_t huge = INT64_MAX, wide = int64_t{1} << 32;
  for (const std::vector<int64_t>& sides :
       std::vector<std::vector<int64_t>>{{},
                                         {0, 6},
                                         {6, 0},
                                         {-2, -3},
                                         {2, 4},
                                         {1, 5},
                                         {2, 3, 1, 1},
                                         {huge, huge},
                                         {wide, wide},
                                         {-huge, -huge},
                                         {1, 6, 1, 0},
                                         {2, 2, huge, 2}}) {
    Attention a;
    a.places = 6;
    if (a.SetLevels(sides.data(), sides.size() / 2).empty()) {
      Fail("SetLevels took sides that do not fit");
    }
  }
  Attention a;
  a.places = wide;
  const int64_t sides[] = {1 << 16, 1 << 16};
  if (a.SetLevels(sides, 1).empty()) Fail("SetLevels took too many places");
  const int64_t long_sides[] = {1, (1 << 24) + 1};
  a.places = long_sides[1];
  if (a.SetLevels(long_sides, 1).empty()) Fail("SetLevels took a long side");
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 300;
  omp_set_num_threads(3);
  CheckSizes();
  for (int seed = 0; seed < rounds; ++seed) {
    Fuzz fuzz(seed);
    const Call call(&fuzz);
    for (int set = 0; set <= static_cast<int>(ops::BestInstructionSet());
         ++set) {
      CheckForward(call, static_cast<InstructionSet>(set));
      CheckBackward(call, &fuzz, static_cast<InstructionSet>(set));
    }
  }
  std::printf("deformable attention: %d rounds, %d instruction sets\n", rounds,
              static_cast<int>(ops::BestInstructionSet()) + 1);
  return 0;
}
