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

// Kernels of depthwise convolution. multiversion.h includes this, depthwise.h
// comes before it.
//
// Every plane is copied once into a zero-padded scratch plane; with stride s
// the copy is split into s * s phase planes, phase (a, b) holding the padded
// pixels (s * y + a, s * x + b). All phases have the same width `cols`, so tap
// (i, j) of output (y, x) lies at
//
//   phase(i % s, j % s)[y * cols + x + (i / s) * cols + j / s],
//
// that is, at a distance from y * cols + x that depends on the tap alone. The
// convolution and both of its gradients thus become sums of shifted
// one-dimensional arrays, without row ends, strides or bounds in the inner
// loop. The few columns between the output's width and `cols` are computed for
// nothing. As the inner loops run over positions with the taps outside, one
// kernel has the same speed for any kernel size and stride, and templates by
// size and stride would gain nothing; only the copies are specialised.
//
// Vectors are GCC/Clang vector extensions rather than loops left to the
// auto-vectoriser: the accumulators must stay in registers across the taps. The
// compiler lowers them to what the instruction set has.
// More than once, so it has no guard.
// NOLINT(build/header_guard)

// Accumulators in flight: FMA latency (4) times FMAs per cycle (2).
constexpr int kUnroll = 8;

// aligned(4): loads and stores through this type may be unaligned.
typedef float Vec __attribute__((vector_size(32), aligned(4), may_alias));

inline Vec Load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline void Store(float* p, const Vec& v) { *reinterpret_cast<Vec*>(p) = v; }

// memcpy's call costs more than the copy for rows of ten or twenty pixels.
inline void CopyRow(const float* src, int64_t n, float* dst) {
  if (n < kLanes) {
    for (int64_t i = 0; i < n; ++i) dst[i] = src[i];
    return;
  }
  for (int64_t i = 0; i + kLanes <= n; i += kLanes) {
    Store(dst + i, Load(src + i));
  }
  Store(dst + n - kLanes, Load(src + n - kLanes));
}

// Walks over the rows of a plane and their pieces in the phase planes.
// fn(row, parts): parts[b] is where pixels b, b + stride, ... of the row lie.
template <typename Fn>
inline void ForEachRow(const Geometry& g, Fn fn) {
  std::vector<int64_t> parts(g.stride);
  for (int64_t r = 0; r < g.height; ++r) {
    const int64_t y = r + g.padding;
    for (int64_t b = 0; b < g.stride; ++b) {
      const int64_t x = b + g.padding;
      const int64_t phase = y % g.stride * g.stride + x % g.stride;
      parts[b] = phase * g.plane + y / g.stride * g.cols + x / g.stride;
    }
    fn(r, parts.data());
  }
}

// Copies a plane [height, width] into the phases. Padding is never written, so
// that it stays zero from one plane to the next.
void Pack(const Geometry& g, const float* __restrict x,
          float* __restrict phases) {
  const int64_t w = g.width, s = g.stride;
  ForEachRow(g, [=](int64_t r, const int64_t* parts) {
    const float* __restrict src = x + r * w;
    if (s == 1) {
      CopyRow(src, w, phases + parts[0]);
    } else if (s == 2) {
      float* __restrict even = phases + parts[0];
      float* __restrict odd = phases + parts[1];
      for (int64_t i = 0; i < w / 2; ++i) {
        even[i] = src[2 * i];
        odd[i] = src[2 * i + 1];
      }
      if (w % 2) even[w / 2] = src[w - 1];
    } else {
      for (int64_t i = 0; i < w; ++i) phases[parts[i % s] + i / s] = src[i];
    }
  });
}

// The inverse of Pack.
void Unpack(const Geometry& g, const float* __restrict phases,
            float* __restrict x) {
  const int64_t w = g.width, s = g.stride;
  ForEachRow(g, [=](int64_t r, const int64_t* parts) {
    float* __restrict dst = x + r * w;
    if (s == 1) {
      CopyRow(phases + parts[0], w, dst);
    } else if (s == 2) {
      const float* __restrict even = phases + parts[0];
      const float* __restrict odd = phases + parts[1];
      for (int64_t i = 0; i < w / 2; ++i) {
        dst[2 * i] = even[i];
        dst[2 * i + 1] = odd[i];
      }
      if (w % 2) dst[w - 1] = even[w / 2];
    } else {
      for (int64_t i = 0; i < w; ++i) dst[i] = phases[parts[i % s] + i / s];
    }
  });
}

template <int kVectors>
inline void ShiftedSumBlock(const float* in, const int64_t* shifts,
                            const float* weights, int64_t taps, float* out) {
  Vec acc[kVectors] = {};
  for (int64_t t = 0; t < taps; ++t) {
    const float* p = in + shifts[t];
    const Vec w = weights[t] - Vec{};
#pragma GCC unroll 8
    for (int u = 0; u < kVectors; ++u) acc[u] += w * Load(p + u * kLanes);
  }
#pragma GCC unroll 8
  for (int u = 0; u < kVectors; ++u) Store(out + u * kLanes, acc[u]);
}

// out[i] = sum over t of weights[t] * in[i + shifts[t]], for 0 <= i < length, a
// multiple of kLanes.
void ShiftedSum(const float* in, const int64_t* shifts, const float* weights,
                int64_t taps, int64_t length, float* out) {
  int64_t i = 0;
  for (; i + kUnroll * kLanes <= length; i += kUnroll * kLanes) {
    ShiftedSumBlock<kUnroll>(in + i, shifts, weights, taps, out + i);
  }
  for (; i + 4 * kLanes <= length; i += 4 * kLanes) {
    ShiftedSumBlock<4>(in + i, shifts, weights, taps, out + i);
  }
  for (; i < length; i += kLanes) {
    ShiftedSumBlock<1>(in + i, shifts, weights, taps, out + i);
  }
}

// sums[t] += dot(grad, in + offsets[t]) over `length` elements, by lanes.
void ShiftedDots(const float* in, const float* grad, int64_t length,
                 const std::vector<int64_t>& offsets, Vec* sums) {
  for (size_t t = 0; t < offsets.size(); t += kTapGroup) {
    Vec acc[kTapGroup] = {};
    const float* p[kTapGroup];
#pragma GCC unroll 9
    for (int u = 0; u < kTapGroup; ++u) p[u] = in + offsets[t + u];
    for (int64_t i = 0; i < length; i += kLanes) {
      const Vec d = Load(grad + i);
#pragma GCC unroll 9
      for (int u = 0; u < kTapGroup; ++u) acc[u] += d * Load(p[u] + i);
    }
#pragma GCC unroll 9
    for (int u = 0; u < kTapGroup; ++u) sums[t + u] += acc[u];
  }
}

void Forward(const Geometry& g, const float* x, const float* filter,
             float* out) {
  const int64_t out_plane = g.out_height * g.out_width;
#pragma omp parallel
  {
    std::vector<float> phases(g.phases_size());
    std::vector<float> sum(g.out_length);
#pragma omp for
    for (int64_t k = 0; k < g.batch * g.channels; ++k) {
      Pack(g, x + k * g.height * g.width, phases.data());
      ShiftedSum(phases.data(), g.offsets.data(),
                 filter + k % g.channels * g.taps, g.taps, g.out_length,
                 sum.data());
      for (int64_t y = 0; y < g.out_height; ++y) {
        CopyRow(sum.data() + y * g.cols, g.out_width,
                out + k * out_plane + y * g.out_width);
      }
    }
  }
}

// grad: the output gradient in rows of `cols`, with max_shift zeros before it
// and zeros wherever the output has no pixel.
void InputGrad(const Geometry& g, const float* grad, const float* filter,
               float* phases) {
  std::vector<float> weights(g.taps);
  // Phases in ascending order: the last vector of one may reach into the next.
  for (int64_t phase = 0; phase < g.stride * g.stride; ++phase) {
    const auto& taps = g.phase_taps[phase];
    for (size_t t = 0; t < taps.size(); ++t) weights[t] = filter[taps[t]];
    // Rows of padding are left out.
    const int64_t shift = g.padding - phase / g.stride + g.stride - 1;
    const int64_t first = shift / g.stride;
    const int64_t last = (g.height + shift) / g.stride;
    const int64_t start = first * g.cols;
    ShiftedSum(grad + start, g.phase_shifts[phase].data(), weights.data(),
               taps.size(), RoundUp((last - first) * g.cols),
               phases + phase * g.plane + start);
  }
}

void Backward(const Geometry& g, const float* x, const float* filter,
              const float* out_grad, float* x_grad, float* filter_grad) {
  const int64_t in_plane = g.height * g.width;
  const int64_t out_plane = g.out_height * g.out_width;
#pragma omp parallel
  {
    std::vector<float> phases(g.phases_size()), grad_phases(g.phases_size());
    std::vector<float> padded(g.max_shift + g.plane + kLanes);
    std::vector<float> lanes(g.offsets.size() * kLanes);
    Vec* sums = reinterpret_cast<Vec*>(lanes.data());
    float* grad = padded.data() + g.max_shift;
#pragma omp for
    for (int64_t c = 0; c < g.channels; ++c) {
      std::fill(lanes.begin(), lanes.end(), 0.f);
      for (int64_t n = 0; n < g.batch; ++n) {
        const int64_t k = n * g.channels + c;
        for (int64_t y = 0; y < g.out_height; ++y) {
          CopyRow(out_grad + k * out_plane + y * g.out_width, g.out_width,
                  grad + y * g.cols);
        }
        Pack(g, x + k * in_plane, phases.data());
        ShiftedDots(phases.data(), grad, g.out_length, g.offsets, sums);
        InputGrad(g, grad, filter + c * g.taps, grad_phases.data());
        Unpack(g, grad_phases.data(), x_grad + k * in_plane);
      }
      for (int64_t t = 0; t < g.taps; ++t) {
        double sum = 0;
        for (int64_t l = 0; l < kLanes; ++l) sum += lanes[t * kLanes + l];
        filter_grad[c * g.taps + t] = static_cast<float>(sum);
      }
    }
  }
}
