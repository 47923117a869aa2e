# make demo | make test | make lint | make bench: each sets up what it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# GPU=1 is for machines with a GPU: the GPU build of Paddle, in an environment of
# its own, since both builds are the one package `paddle`.
VENV := $(CURDIR)/$(if $(GPU),.venv-gpu,.venv)
PROJECT := deploy/auto_compression
PY := $(VENV)/bin/python
REQUIREMENTS := $(if $(GPU),requirements-gpu.txt,requirements.txt)
PIP := $(PY) -m pip --disable-pip-version-check -q install -c $(PROJECT)/constraints.txt

.PHONY: help setup setup-paddle3 demo export test test-gpu-config test-paddle3 test-ops-asan \
    test-browser lint pr results bench bench-accuracy bench-siblings bench-peers \
    bench-trt-partition bench-paddle3 clean

help:
	@echo "make demo    data, export, compression, evaluation, report: a first look"
	@echo "             (5 minutes)"
	@echo "make export MODEL=rtdetr_l"
	@echo "             the float model of a compression YAML; also WEIGHTS=FILE,"
	@echo "             INPUT_SIZE=\"H W\", RANDOM_WEIGHTS=1"
	@echo "make test    the tests"
	@echo "make test-gpu-config"
	@echo "             the tests of Paddle's GPU build, in .venv-gpu (759 MB to"
	@echo "             download); no GPU is needed"
	@echo "make test-paddle3"
	@echo "             evaluation with Paddle 3, in .venv-paddle3 (195 MB to download)"
	@echo "make test-ops-asan"
	@echo "             the C++ operators' kernels, fuzzed under AddressSanitizer"
	@echo "make test-browser"
	@echo "             the report in headless Chromium, which is installed where it is"
	@echo "             missing (Debian, as root)"
	@echo "make lint    formatting and static checks"
	@echo "make pr PPDET=CHECKOUT BRANCH=develop"
	@echo "             the pull request for PaddleDetection: a series of patches"
	@echo "make results COCO=DIR NAME=name"
	@echo "             the four models on this CPU, beside the published figures"
	@echo "             (an hour; most of it is calibration of DINO)"
	@echo "make bench   the benchmarks; results go to benchmarks/results"
	@echo "make bench-accuracy COCO=DIR WEIGHTS=FILE MODEL=picodet_xs"
	@echo "             what int8 costs trained weights on a COCO data set"
	@echo "make bench-siblings"
	@echo "             what int8 costs the small models of demo/ (an hour)"
	@echo "make bench-peers NAME=name"
	@echo "             this CPU's engines side by side, see benchmarks/cpu_engines.py;"
	@echo "             also MODELS=\"...\", COCO=DIR, WEIGHTS=FILE, ARGS=\"...\""
	@echo "make bench-paddle3"
	@echo "             Paddle 2.6.2 and 3.3.1 in turn on the models of demo/; also"
	@echo "             COCO=DIR, WEIGHTS=FILE"
	@echo "make bench-trt-partition COCO=DIR"
	@echo "             which operators TensorRT would get, seen without a GPU; also"
	@echo "             MODELS=\"...\", ARGS=\"...\""
	@echo "make setup   only the virtual environment, .venv; GPU=1 make setup: that for"
	@echo "             GPU machines, .venv-gpu; other targets take GPU=1 too"

setup: $(VENV)/.installed

$(VENV)/.installed: $(wildcard $(PROJECT)/requirements*.txt) $(PROJECT)/constraints.txt $(PROJECT)/check_python.py
	@$(PYTHON) $(PROJECT)/check_python.py
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r $(PROJECT)/$(REQUIREMENTS) -r $(PROJECT)/requirements-dev.txt
	$(PIP) --no-deps -r $(PROJECT)/requirements-no-deps.txt
	@touch $@

demo: setup
	cd $(PROJECT) && $(PY) demo/shapes.py
	cd $(PROJECT) && $(PY) export.py -c demo/picodet_s_320_lcnet.yml \
	    --save_dir inference_model/picodet_s_320_lcnet_demo
	cd $(PROJECT) && $(PY) run.py --config_path configs/picodet_s_320_lcnet_qat.yml
	cd $(PROJECT) && $(PY) paddle_inference_eval.py --device CPU \
	    --compare inference_model/picodet_s_320_lcnet_demo --per_class
	cd $(PROJECT) && $(PY) report.py output/evaluation output/picodet_s_320_lcnet_qat
	@cat $(PROJECT)/demo/next_steps.txt

# MODEL: the beginning of one compression YAML's name.
YAML_OF_MODEL = $(wildcard $(PROJECT)/configs/$(MODEL)*.yml)
define check_model
@test -n "$(MODEL)" -a $(words $(YAML_OF_MODEL)) = 1 || { \
    echo "error: MODEL=$(MODEL) must be the beginning of one of:" \
    "$(basename $(notdir $(wildcard $(PROJECT)/configs/*.yml)))"; exit 2; }
endef

export: setup
	$(check_model)
	cd $(PROJECT) && $(PY) export.py --config_path configs/$(notdir $(YAML_OF_MODEL)) \
	    $(if $(INPUT_SIZE),--input_size $(INPUT_SIZE)) \
	    $(if $(RANDOM_WEIGHTS),--random_weights) \
	    $(if $(WEIGHTS),-o weights=$(abspath $(WEIGHTS)))

test: setup
	$(PY) -m pytest -q tests

test-gpu-config:
	$(MAKE) GPU=1 setup
	$(CURDIR)/.venv-gpu/bin/python -m pytest -q tests/gpu

# Where models are run only, and made by .venv.
PADDLE3 := $(CURDIR)/.venv-paddle3
PIP3 := $(PADDLE3)/bin/python -m pip --disable-pip-version-check -q install -c $(PROJECT)/constraints.txt

$(PADDLE3)/.installed: $(wildcard $(PROJECT)/requirements*.txt) $(PROJECT)/constraints.txt
	$(PYTHON) -m venv $(PADDLE3)
	$(PIP3) -r $(PROJECT)/requirements-paddle3.txt pytest
	$(PIP3) --no-deps -r $(PROJECT)/requirements-no-deps.txt
	@touch $@

setup-paddle3: $(PADDLE3)/.installed

test-paddle3: setup setup-paddle3
	PADDLE2_PYTHON=$(PY) $(PADDLE3)/bin/python -m pytest -q tests/paddle3 \
	    tests/test_depthwise.py tests/test_deformable.py

# Without Paddle in the process, which AddressSanitizer does not stand; its oneDNN
# it does.
FUZZED := deformable depthwise nms network
LINK_network = -L"$$libs" -Wl,-rpath,"$$libs" -l:libdnnl.so.3
SANITIZE := -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -Wall -Wno-psabi

test-ops-asan: $(FUZZED:%=fuzz-%)

fuzz-%: setup
	@mkdir -p build
	libs=$$(echo $(VENV)/lib/python3*/site-packages/paddle/libs); \
	    g++ -std=c++17 -O1 -fopenmp $(SANITIZE) -I$(PROJECT)/ops \
	    tests/operators/fuzz_$*.cc -o build/fuzz_$* $(LINK_$*)
	build/fuzz_$*

# A series of patches for a branch of a PaddleDetection checkout.
BRANCH ?= develop

pr: setup
	@test -n "$(PPDET)" || { echo "error: make pr needs PPDET=CHECKOUT BRANCH=develop"; exit 2; }
	$(PY) pr/make_series.py --ppdet $(abspath $(PPDET)) --branch $(BRANCH)

# The packages' names are Debian's.
CHROMIUM := $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

test-browser: setup
ifeq ($(CHROMIUM),)
	@test "$$(id -u)" = 0 -a -n "$$(command -v apt-get)" || { \
	    echo "error: make test-browser needs Chromium: apt-get install chromium"; exit 2; }
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends chromium
endif
	$(PY) -m pytest -q tests/browser

lint: setup
	$(PY) -m ruff check .
	$(PY) -m yapf --parallel --diff --recursive deploy tests benchmarks patches pr
	$(VENV)/bin/clang-format --dry-run --Werror $(PROJECT)/ops/*.cc $(PROJECT)/ops/*.h \
	    tests/operators/*.cc tests/operators/*.h tests/gpu/*.c \
	    benchmarks/trt_partition/*.cc

DEMO_YAML := configs/picodet_s_320_lcnet_qat.yml
DEMO_FLOAT := inference_model/picodet_s_320_lcnet_demo
DEMO_INT8 := output/picodet_s_320_lcnet_qat

# On the models that `make demo` leaves.
bench: setup
	@test -d $(PROJECT)/$(DEMO_INT8) || { echo "error: run make demo first"; exit 2; }
	cd $(PROJECT) && $(PY) ../../benchmarks/preparation.py --model_dir $(DEMO_FLOAT)
	cd $(PROJECT) && $(PY) ../../benchmarks/latency.py --config_path $(DEMO_YAML) \
	    --reference $(DEMO_FLOAT) --model_path $(DEMO_INT8) --name picodet_s_demo

# COCO=DIR WEIGHTS=FILE MODEL=the beginning of one configuration's name;
# also RECIPES="hist gptq", SEEDS="0 1 2", OPT="KEY=VALUE".
bench-accuracy: setup
	@test -n "$(COCO)" -a -n "$(WEIGHTS)" || { \
	    echo "error: make bench-accuracy needs COCO=DIR WEIGHTS=FILE MODEL=picodet_xs"; exit 2; }
	$(check_model)
	cd $(PROJECT) && $(PY) ../../benchmarks/accuracy.py \
	    --config_path configs/$(notdir $(YAML_OF_MODEL)) --coco $(abspath $(COCO)) \
	    --weights $(abspath $(WEIGHTS)) $(if $(RECIPES),--recipes $(RECIPES)) \
	    $(if $(SEEDS),--seeds $(SEEDS)) $(if $(OPT),-o $(OPT))

SIBLINGS := output/siblings

bench-siblings: setup
	cd $(PROJECT) && $(PY) demo/shapes.py
	cd $(PROJECT) && $(PY) ../../benchmarks/siblings.py --work_dir $(SIBLINGS)
	cd $(PROJECT) && $(PY) ../../benchmarks/fc_passes.py \
	    --convolutions $(SIBLINGS)/rtdetr_tiny_convolutions_ptq \
	    --linear_too $(SIBLINGS)/rtdetr_tiny_linear_too_ptq \
	    --output_json ../../benchmarks/results/fc_passes_rtdetr_tiny.json

# The engines that are compared with, apart: they need other versions.
PEERS := $(CURDIR)/.venv-peers

$(PEERS)/.installed: benchmarks/requirements-peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check -q install -r $<
	@touch $@

bench-peers: setup $(PEERS)/.installed
	@test -n "$(NAME)" || { echo "error: make bench-peers needs NAME=name"; exit 2; }
	cd $(PROJECT) && $(PY) demo/shapes.py
	$(PY) benchmarks/cpu_engines.py --peers_python $(PEERS)/bin/python \
	    --name $(NAME) $(if $(MODELS),--models $(MODELS)) \
	    $(if $(COCO),--coco $(abspath $(COCO))) \
	    $(if $(WEIGHTS),--weights $(abspath $(WEIGHTS))) $(ARGS)

# The four models beside the published figures.
results: setup
	@test -n "$(COCO)" -a -n "$(NAME)" || { echo "error: make results needs COCO=DIR NAME=name"; exit 2; }
	cd $(PROJECT) && $(PY) demo/shapes.py
	$(PY) benchmarks/cpu_engines.py --engines ours --name $(NAME) \
	    --models picodet_s_demo ppyoloe_l rtdetr_l dino_r50 --seconds 300 --coco $(abspath $(COCO)) $(ARGS)
	$(PY) benchmarks/models_table.py benchmarks/results/cpu_engines_$(NAME).json

# Also COCO=DIR WEIGHTS=FILE, those of PicoDet-XS.
bench-paddle3: setup setup-paddle3
	cd $(PROJECT) && $(PY) demo/shapes.py
	$(PY) benchmarks/paddle3.py --python3 $(PADDLE3)/bin/python \
	    $(if $(COCO),--coco $(abspath $(COCO))) \
	    $(if $(WEIGHTS),--weights $(abspath $(WEIGHTS)))

# Which operators TensorRT would get, seen without a GPU.
bench-trt-partition: setup
	@test -n "$(COCO)" || { echo "error: make bench-trt-partition needs COCO=DIR"; exit 2; }
	$(MAKE) GPU=1 setup
	$(PY) benchmarks/partition.py --table $(MODELS) --coco $(abspath $(COCO)) $(ARGS)

clean:
	rm -rf $(CURDIR)/.venv $(CURDIR)/.venv-gpu $(PADDLE3) $(PEERS)
