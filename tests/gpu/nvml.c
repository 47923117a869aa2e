/* Copyright (c) 2026 PaddlePaddle Authors. All Rights Reserved.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License. */
/* Answers as libnvidia-ml.so.1 would, for one device: nvidia-ml-py itself, with
   its structures, is what reads it. NVML_PID is the process that it shows on
   the device; each look at the memory finds NVML_STEP MiB more. */
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7 };
static const unsigned long long MIB = 1 << 20;
static unsigned long long looks;

static long of(const char* name) {
  const char* value = getenv(name);
  return value ? atol(value) : 0;
}

typedef struct {
  unsigned long long total, free, used;
} memory_t;

typedef struct {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance, compute_instance;
} process_t;

int nvmlInitWithFlags(unsigned flags) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char* nvmlErrorString(int code) { return "as it happens"; }

int nvmlSystemGetDriverVersion(char* version, unsigned length) {
  strncpy(version, "535.104.05", length);
  return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  *device = (void*)(long)(index + 1);
  return index == of("NVML_INDEX") ? SUCCESS : 2;
}

int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
  *device = (void*)1;
  return strcmp(uuid, "GPU-1") ? 6 : SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void* device, memory_t* memory) {
  memory->total = 16384 * MIB;
  memory->used = (1000 + of("NVML_STEP") * looks++) * MIB;
  memory->free = memory->total - memory->used;
  return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void* device, unsigned* count,
                                            process_t* processes) {
  if (processes == NULL) {
    *count = 2;
    return INSUFFICIENT_SIZE;
  }
  process_t found[2] = {{1, 77 * MIB, -1, -1}, {of("NVML_PID"), 0, -1, -1}};
  found[1].used = 640 * MIB;
  memcpy(processes, found, sizeof(found));
  *count = 2;
  return SUCCESS;
}

int nvmlDeviceGetClockInfo(void* device, int type, unsigned* clock) {
  *clock = 1380;
  return type == 1 ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetMaxClockInfo(void* device, int type, unsigned* clock) {
  *clock = 1530;
  return type == 1 ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void* device,
                                              unsigned long long* reasons) {
  *reasons = of("NVML_REASONS");
  return getenv("NVML_REASONS") ? SUCCESS : NOT_SUPPORTED;
}
