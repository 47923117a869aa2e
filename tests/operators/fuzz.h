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

// What the fuzzing of kernels shares: numbers, and the comparison of arrays.
// `make test-ops-asan` runs it under AddressSanitizer; arrays are vectors of
// exactly the size that a kernel may touch.

#ifndef TESTS_OPERATORS_FUZZ_H_
#define TESTS_OPERATORS_FUZZ_H_

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

class Fuzz {
 public:
  explicit Fuzz(int seed) : engine_(seed) {}

  int64_t Int(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(engine_);
  }
  bool Coin() { return Int(0, 1) != 0; }
  float Uniform(float least, float most) {
    return std::uniform_real_distribution<float>(least, most)(engine_);
  }
  template <typename T>
  T Pick(const std::vector<T>& of) {
    return of[Int(0, of.size() - 1)];
  }
  std::vector<float> Array(int64_t size, float least, float most) {
    std::vector<float> made(size);
    for (float& x : made) x = Uniform(least, most);
    return made;
  }

 private:
  std::mt19937 engine_;
};

[[noreturn]] inline void Fail(const std::string& what) {
  std::fprintf(stderr, "failed: %s\n", what.c_str());
  std::exit(1);
}

// Whether two numbers are equal but for rounding of terms of this size.
inline void CheckNear(double found, double wanted, double size,
                      const std::string& what) {
  if (!(std::fabs(found - wanted) <= 1e-4 * std::max(1.0, size))) {
    Fail(what + ": " + std::to_string(found) + " instead of " +
         std::to_string(wanted));
  }
}

inline double Dot(const std::vector<float>& a, const std::vector<float>& b,
                  double* size) {
  double sum = 0;
  *size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += static_cast<double>(a[i]) * b[i];
    *size += std::fabs(static_cast<double>(a[i]) * b[i]);
  }
  return sum;
}

#endif  // TESTS_OPERATORS_FUZZ_H_
