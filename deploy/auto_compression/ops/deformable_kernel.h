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

// Kernels of multi-scale deformable attention. multiversion.h includes this,
// deformable.h comes before it.
// More than once, so it has no guard.
// NOLINT(build/header_guard)

inline float Positive(float x) { return x > 0 ? x : 0; }  // 0 for NaN

// exp(x) for x <= 0 with a relative error below 2e-7, without branches or
// library calls so that loops of it become vectors. exp(x) = 2^n * exp(r); the
// polynomial is exp's on |r| <= ln(2) / 2 (Cephes, expf).
inline float Exp(float x) {
  x = x < -87 ? -87 : x;
  // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
  const float rounded = x * 1.44269504f + 12582912.0f;
  const float n = rounded - 12582912.0f;
  // ln(2) in two parts, the first with few bits.
  const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1;
  uint32_t bits;
  std::memcpy(&bits, &rounded, 4);
  bits = (bits + 127) << 23;
  float power;
  std::memcpy(&power, &bits, 4);
  return p * power;
}

// The samples of one query and head, in arrays so that the compiler works on
// several at once. Each reads four places: an upper left one, the one right of
// it and the two below. It is chosen so that all four are in the map, and a
// place's weight is what its distance leaves of 1, or nothing.
class Samples {
 public:
  explicit Samples(const Attention& a)
      : a_(a), count_(a.samples()), floats_(13 * count_), places_(3 * count_) {
    float* f = floats_.data();
    for (float** array :
         {&center_x_, &center_y_, &scale_x_, &scale_y_, &last_x_, &last_y_,
          &right_, &below_, &soft_, &weights_[0], &weights_[1], &weights_[2],
          &weights_[3]}) {
      *array = f;
      f += count_;
    }
    place_ = places_.data();
    start_ = place_ + count_;
    width_ = start_ + count_;
    for (int64_t i = 0; i < count_; ++i) {
      const Level& level = a.levels[i / a.points];
      start_[i] = level.start;
      width_[i] = level.width;
      right_[i] = level.width > 1;
      below_[i] = level.height > 1;
      last_x_[i] = level.width > 1 ? level.width - 2 : 0;
      last_y_[i] = level.height > 1 ? level.height - 2 : 0;
    }
  }

  // What an offset of this query is in pixels of a map.
  void SetQuery(int64_t b, int64_t q) {
    const int64_t row = (a_.reference_batch == 1 ? 0 : b) * a_.queries + q;
    int64_t i = 0;
    for (size_t l = 0; l < a_.levels.size(); ++l) {
      const float width = a_.levels[l].width, height = a_.levels[l].height;
      float center_x = -0.5f, center_y = -0.5f, scale_x = width,
            scale_y = height;
      if (a_.reference != nullptr) {
        const int64_t level = a_.reference_levels == 1 ? 0 : l;
        const float* r = a_.reference + (row * a_.reference_levels + level) *
                                            a_.reference_size;
        center_x += r[0] * width;
        center_y += r[1] * height;
        const bool box = a_.reference_size == 4;
        scale_x = box ? r[2] * 0.5f / a_.points * width : 1;
        scale_y = box ? r[3] * 0.5f / a_.points * height : 1;
      }
      for (int64_t p = 0; p < a_.points; ++p, ++i) {
        center_x_[i] = center_x;
        center_y_[i] = center_y;
        scale_x_[i] = scale_x;
        scale_y_[i] = scale_y;
      }
    }
  }

  void SetHead(const float* offsets, const float* weights) {
    const float* factors = weights;
    float scale = 1;
    if (a_.softmax) {
      float highest = weights[0], sum = 0;
      for (int64_t i = 1; i < count_; ++i) {
        highest = weights[i] > highest ? weights[i] : highest;
      }
#pragma omp simd
      for (int64_t i = 0; i < count_; ++i) {
        soft_[i] = Exp(weights[i] - highest);
      }
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < count_; ++i) sum += soft_[i];
      factors = soft_;
      scale = 1 / sum;
    }
#pragma omp simd
    for (int64_t i = 0; i < count_; ++i) {
      const float x = center_x_[i] + scale_x_[i] * offsets[2 * i];
      const float y = center_y_[i] + scale_y_[i] * offsets[2 * i + 1];
      const float inner_x = Positive(x) < last_x_[i] ? Positive(x) : last_x_[i];
      const float inner_y = Positive(y) < last_y_[i] ? Positive(y) : last_y_[i];
      const int32_t x0 = static_cast<int32_t>(inner_x);
      const int32_t y0 = static_cast<int32_t>(inner_y);
      const float dx = x - x0, dy = y - y0;
      const float left = Positive(1 - std::fabs(dx));
      const float right = Positive(1 - std::fabs(dx - 1)) * right_[i];
      const float above = Positive(1 - std::fabs(dy));
      const float below = Positive(1 - std::fabs(dy - 1)) * below_[i];
      const float factor = factors[i] * scale;
      weights_[0][i] = above * left * factor;
      weights_[1][i] = above * right * factor;
      weights_[2][i] = below * left * factor;
      weights_[3][i] = below * right * factor;
      // Such a sample is left out, as 0 * inf is not 0.
      const bool outside = (left + right) * (above + below) == 0;
      place_[i] = outside ? -1 : start_[i] + y0 * width_[i] + x0;
    }
  }

  // Sums `n` channels of a head.
  void Sum(const float* value, int64_t n, float* out) const {
    int64_t c = 0;
    for (; c + 4 * kFloats <= n; c += 4 * kFloats) {
      SumBlock<kFloats, 4>(value + c, out + c);
    }
    for (; c + 2 * kFloats <= n; c += 2 * kFloats) {
      SumBlock<kFloats, 2>(value + c, out + c);
    }
    for (; c + kFloats <= n; c += kFloats) {
      SumBlock<kFloats, 1>(value + c, out + c);
    }
    for (; c < n; ++c) SumBlock<1, 1>(value + c, out + c);
  }

 private:
  // kCount vectors of kSize channels.
  template <int kSize, int kCount>
  void SumBlock(const float* value, float* out) const {
    // aligned(4): loads and stores through this type may be unaligned.
    typedef float Vec
        __attribute__((vector_size(4 * kSize), aligned(4), may_alias));
    const int64_t step = a_.step();
    Vec sum[kCount] = {};
    int64_t i = 0;
    for (const Level& level : a_.levels) {
      const int64_t right = level.width > 1 ? step : 0;
      const int64_t below = level.height > 1 ? level.width * step : 0;
      for (int64_t p = 0; p < a_.points; ++p, ++i) {
        if (place_[i] < 0) continue;
        const float* v = value + place_[i] * step;
        const float* w = v + below;
#pragma GCC unroll 4
        for (int k = 0; k < kCount; ++k, v += kSize, w += kSize) {
          const Vec& v00 = *reinterpret_cast<const Vec*>(v);
          const Vec& v01 = *reinterpret_cast<const Vec*>(v + right);
          const Vec& v10 = *reinterpret_cast<const Vec*>(w);
          const Vec& v11 = *reinterpret_cast<const Vec*>(w + right);
          sum[k] += (weights_[0][i] * v00 + weights_[1][i] * v01) +
                    (weights_[2][i] * v10 + weights_[3][i] * v11);
        }
      }
    }
    for (int k = 0; k < kCount; ++k) {
      *reinterpret_cast<Vec*>(out + k * kSize) = sum[k];
    }
  }

  const Attention& a_;
  const int64_t count_;
  float *center_x_, *center_y_, *scale_x_, *scale_y_;  // see SetQuery
  float *last_x_, *last_y_;                            // of an upper left place
  float *right_, *below_;  // 1, or 0 where a map has no second place
  float *soft_, *weights_[4];
  int32_t *place_, *start_, *width_;
  std::vector<float> floats_;
  std::vector<int32_t> places_;
};

// out: [batch, queries, heads, channels].
void Attend(const Attention& a, float* out) {
#pragma omp parallel
  {
    Samples samples(a);
#pragma omp for collapse(2)
    for (int64_t b = 0; b < a.batch; ++b) {
      for (int64_t q = 0; q < a.queries; ++q) {
        samples.SetQuery(b, q);
        for (int64_t h = 0; h < a.heads; ++h) {
          const int64_t at = (b * a.queries + q) * a.heads + h;
          samples.SetHead(a.offsets + at * a.samples() * 2,
                          a.weights + at * a.samples());
          samples.Sum(a.value + b * a.places * a.step() + h * a.channels,
                      a.channels, out + at * a.channels);
        }
      }
    }
  }
}

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
// value_grad is zero before; one thread has a head of an image to itself.
template <int kChannels>
void BackwardOf(const Attention& a, const float* out_grad, float* value_grad,
                float* locations_grad, float* weights_grad) {
  const int64_t n = kChannels ? kChannels : a.channels;
#pragma omp parallel for collapse(2)
  for (int64_t b = 0; b < a.batch; ++b) {
    for (int64_t h = 0; h < a.heads; ++h) {
      const int64_t head = b * a.places * a.step() + h * n;
      for (int64_t q = 0; q < a.queries; ++q) {
        const int64_t at = (b * a.queries + q) * a.heads + h;
        const float* __restrict grad = out_grad + at * n;
        int64_t sample = at * a.samples();
        for (const Level& level : a.levels) {
          for (int64_t p = 0; p < a.points; ++p, ++sample) {
            float* location_grad = locations_grad + 2 * sample;
            location_grad[0] = location_grad[1] = weights_grad[sample] = 0;
            Corners c;
            if (!c.Find(level, a.step(), a.offsets + 2 * sample)) continue;
            const float right = c.right_part, lower = c.lower_part;
            const float parts[4] = {(1 - lower) * (1 - right),
                                    (1 - lower) * right, lower * (1 - right),
                                    lower * right};
            float dots[4];  // of each place's channels with the gradient
            for (int k = 0; k < 4; ++k) {
              dots[k] = 0;
              if (!c.inside[k]) continue;
              const float* __restrict v = a.value + head + c.offset[k];
              float* __restrict v_grad = value_grad + head + c.offset[k];
              const float part = parts[k] * a.weights[sample];
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
            location_grad[0] = a.weights[sample] * level.width *
                               ((1 - lower) * (dots[1] - dots[0]) +
                                lower * (dots[3] - dots[2]));
            location_grad[1] = a.weights[sample] * level.height *
                               ((1 - right) * (dots[2] - dots[0]) +
                                right * (dots[3] - dots[1]));
          }
        }
      }
    }
  }
}

// The gradients of Attend without softmax and reference; value_grad is zero
// before.
void Backward(const Attention& a, const float* out_grad, float* value_grad,
              float* locations_grad, float* weights_grad) {
  const auto run = a.channels == 8    ? BackwardOf<8>
                   : a.channels == 16 ? BackwardOf<16>
                   : a.channels == 32 ? BackwardOf<32>
                                      : BackwardOf<0>;
  run(a, out_grad, value_grad, locations_grad, weights_grad);
}
