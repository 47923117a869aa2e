# Copyright (c) 2026 PaddlePaddle Authors. All Rights Reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""diagnose.py search: chooses what of a quantized model stays in float.

Layers are ranked in the simulation on training images, by agreement gained for
a millisecond lost (`front`). A few of the models on that way are made and
measured as they are deployed here, beside fp32 and bf16 (`measured`), and one
is taken (`choice`). It is made for good, and judged on validation images.
"""

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

from tqdm import tqdm

from .. import accuracy, config, data, inference, runtime
from ..compress import job
from ..errors import CheckFailed, UserError
from ..files import check_writable, file_digest, replace_directory
from ..plan import Plan
from ..predictor import Predictor
from ..profile import profiled
from ..program import faster
from ..program.inspect import is_quantized
from ..program.model import Model, ModelFiles
from ..request import Options as Request
from ..request import plan_of
from . import agreement, choice, cut, front, measured, surrogate
from .journal import Journal
from .simulation import Simulation

JOURNAL, RECORD, PICTURE = 'probes.jsonl', 'search.json', 'search.png'
# Gains in agreement AP up to this are chance.
LEAST = 0.05
# Models on the way that are measured, beside all int8.
MEASURED = 6
PROFILE_RUNS = 20


@dataclass(frozen=True)
class Options:
    """What diagnose.py search was asked for."""
    max_drop: float = 0.3  # points of mAP
    min_gain: Optional[float] = None  # latency of fp32 / that of the model
    score_images: int = 32  # of the simulation
    select_images: int = 100  # of what is measured
    confirm_images: Optional[int] = None
    threads: Optional[int] = None
    refine: bool = False
    fresh: bool = False
    save_dir: str = 'output/search_model'
    output_dir: str = 'output/search'
    output_json: Optional[str] = None


@dataclass
class Found:
    """What a search found, for the record, the picture and the words."""
    layers: Sequence[Any] = ()
    costs: Dict[str, Tuple[float, str]] = None
    gains: Dict[str, float] = None
    steps: List[front.Step] = None
    int8_ms: float = 0.  # of the profile
    candidates: List[choice.Candidate] = None
    chosen: Optional[choice.Candidate] = None
    evaluations: int = 0
    confirmed: List[Dict[str, Any]] = None
    directory: str = ''  # of the chosen model


class Search:
    """One search, step by step; each step goes into the journal."""

    def __init__(self, settings: config.Settings, model_dir: str,
                 options: Options) -> None:
        self.settings, self.options = settings, options
        self.model_dir = model_dir
        self.files = ModelFiles.named(settings.Global, model_dir).check()
        self.model = Model.load(self.files)
        if not is_quantized(self.model):
            raise UserError("'%s' is a float model; name an int8 model that "
                            'run.py made with --model_path' % model_dir)
        self.trained = settings.Quantization.strategy == 'qat'
        float_dir = settings.Global.model_dir
        if not os.path.isdir(float_dir):
            raise UserError(
                "float model '%s' (%s: Global.model_dir) does not exist; "
                'export it again: %s' %
                (float_dir, settings.path, ModelFiles(float_dir).remedy()))
        self.source = ModelFiles.named(settings.Global, float_dir).check()
        self.reader = data.open_reader(settings.Reader)
        self.threads = options.threads or settings.Deploy.cpu.threads or \
            runtime.cpu_count()
        self.plain = plan_of(settings, float_dir,
                             Request(precision='fp32', threads=self.threads))
        self.simulation = Simulation(self.files,
                                     None if self.trained else self.source)
        self.names = list(
            dict.fromkeys(x.weight for x in self.simulation.layers))
        count = max(options.score_images, options.select_images)
        records = agreement.training_images(settings, self.reader, count)
        train = self.reader.train()
        self.select = train.only(
            [r.id for r in records[:options.select_images]])
        self.score = records[:options.score_images]
        self.journal = Journal(
            os.path.join(options.output_dir, JOURNAL), {
                'the model': self.files.digest(),
                'the float model': self.source.digest(),
                'the reader file': file_digest(self.reader.file),
                'the annotation file': file_digest(train.annotation_path),
                'the images to score on': [r.id for r in self.score],
                'the images to select on': [r.id for r in self.select.records],
                'the CPU': runtime.cpu_name(),
                'its extensions': runtime.cpu_extensions(),
                'the number of threads': self.threads,
                'paddle': runtime.environment()['paddle'],
            }, options.fresh)
        self.found = Found(layers=self.simulation.layers)

    def costs(self) -> None:
        """What each layer costs in float, in ms, from profiles of both models.
        """

        def profile() -> Dict[str, Any]:
            # Operators that hold a whole network have no layers to name.
            rewrites = [n for n in faster.ALL if n not in faster.TYPED]
            plans = [
                plan_of(
                    self.settings, directory,
                    Request(precision=precision,
                            threads=self.threads,
                            rewrites=rewrites))
                for directory, precision in ((self.source.directory, 'fp32'),
                                             (self.model_dir, 'int8'))
            ]
            batch = self.reader.pipeline(self.select.records[:1])
            feeds = [
                data.feed(batch,
                          Model.load(p.files).inputs(),
                          self.settings.Global.input_mapping,
                          self.settings.path) for p in plans
            ]
            profiles, _ = profiled.profile(
                [self.source.directory, self.model_dir], plans, feeds,
                PROFILE_RUNS)
            return {
                'costs':
                surrogate.costs(profiles[0], profiles[1],
                                self.simulation.layers),
                'int8_ms':
                profiles[1].timing.plain_ms
            }

        found = self.journal.ask('costs', profile)
        self.found.costs = {n: tuple(c) for n, c in found['costs'].items()}
        self.found.int8_ms = found['int8_ms']

    def rank(self) -> None:
        """The way from all int8 to what gains no more."""
        judge = agreement.Judge(
            self.simulation,
            agreement.prepare(self.settings, self.reader, self.score,
                              self.simulation.inputs), self.plain.postprocess)
        count = 0
        with tqdm(total=len(self.names) + 1, desc='search',
                  unit='choice') as bar:

            def value(floats: front.Floats) -> float:
                nonlocal count
                count += 1
                quantized = [n for n in self.names if n not in floats]
                found = self.journal.ask(
                    ['agreement', sorted(floats)],
                    lambda: judge.agreement(quantized))
                if count > bar.total:
                    bar.total = count  # how many more is not known
                bar.update()
                return found

            cost = {n: c for n, (c, _) in self.found.costs.items()}
            steps = list(front.greedy(self.names, cost, value, least=LEAST))
        self.found.steps = steps
        self.found.evaluations = count
        begin = steps[0].value
        self.found.gains = {
            n: self.journal.ask(['agreement', [n]], _never) - begin
            for n in self.names
        }

    def measure(self) -> None:
        """fp32, bf16, all int8 and some models on the way, as deployed."""
        bench = measured.Bench(self.settings, self.plain, self.select,
                               self.reader)

        def one(name: str, precision: str, floats: Sequence[str],
                directory: Optional[str]) -> choice.Candidate:

            def run() -> Dict[str, Any]:
                made = None
                if directory:
                    made = measured.deployed(self.settings, directory,
                                             precision, self.threads)
                return measured.as_json(bench.measure(name, made))

            found = measured.Measured(**self.journal.ask(
                ['measured', precision, sorted(floats)], run))
            base = self.found.candidates[0].map if self.found.candidates \
                else found.map
            return choice.Candidate(name, precision, tuple(sorted(floats)),
                                    found.map, found.agreement,
                                    base - found.map, found.ratio,
                                    found.latency_ms, found.cpu_ms)

        self.found.candidates = []
        add = self.found.candidates.append
        add(one('fp32', 'fp32', (), None))
        if measured.bf16_here():
            add(one('bf16', 'bf16', (), self.source.directory))
        add(one('int8', 'int8', (), self.model_dir))
        with tempfile.TemporaryDirectory(prefix='act_search_') as work:
            for step in _spread(front.pareto(self.found.steps)[1:]):
                name = 'int8, %d in float' % len(step.floats)
                directory = os.path.join(work, str(len(step.floats)))
                if len(step.floats) < len(self.names):
                    self._cut(step.floats, directory)
                    add(one(name, 'int8', step.floats, directory))

    def _cut(self, floats: Sequence[str], directory: str) -> None:
        model = Model.load(self.files)
        cut.to_float(model, floats,
                     None if self.trained else Model.load(self.source),
                     self.model_dir)
        model.save(ModelFiles.named(self.settings.Global, directory))

    def make(self, command: List[str]) -> str:
        """The chosen model, for good. Returns its directory."""
        chosen, save_dir = self.found.chosen, self.options.save_dir
        if chosen.precision != 'int8':
            return self.source.directory
        if not chosen.floats and not self.options.refine:
            return self.model_dir
        settings = self.settings.model_copy(deep=True)
        settings.QuantAware.float_weights = sorted(
            {*settings.QuantAware.float_weights, *chosen.floats})
        if self.options.refine:
            settings.Quantization.strategy = 'qat'
        with tempfile.TemporaryDirectory(prefix='act_search_') as work:
            made = os.path.join(work, 'model')
            self._cut(chosen.floats, made)
            fits = measured.fitting(settings,
                                    ModelFiles.named(settings.Global, made))
            if not self.trained or self.options.refine:
                job.compress(fits, save_dir, command)
                return save_dir
            beside = os.path.join(os.path.dirname(os.path.abspath(save_dir)),
                                  '.%s.made' % os.path.basename(save_dir))
            shutil.rmtree(beside, ignore_errors=True)
            shutil.copytree(self.model_dir, beside)
            for name in os.listdir(made):
                shutil.copyfile(os.path.join(made, name),
                                os.path.join(beside, name))
            with open(os.path.join(beside, job.CONFIG), 'w',
                      encoding='utf-8') as f:
                f.write(config.dump(fits))
            replace_directory(beside, save_dir)
        return save_dir

    def confirm(self) -> None:
        """The chosen model, all int8 and fp32 on validation images, in turn."""
        chosen = self.found.chosen
        images = self.reader.val().take(self.options.confirm_images)
        plans: List[Tuple[str, Plan]] = [('fp32', self.plain)]
        plans.append(('int8',
                      measured.deployed(self.settings, self.model_dir, 'int8',
                                        self.threads)))
        if chosen.name not in ('fp32', 'int8') or self.options.refine:
            plans.append((chosen.name,
                          measured.deployed(self.settings, self.found.directory,
                                            chosen.precision, self.threads)))
        where = dict(input_list=self.settings.Global.input_mapping,
                     where=self.settings.path)
        predictors = [Predictor(p) for _, p in plans]
        passes = inference.run(predictors,
                               self.reader.pipeline,
                               images.records,
                               title='confirm',
                               bad=self.reader.bad,
                               **where)
        speeds = inference.benchmark(predictors,
                                     self.reader.pipeline(images.records[:1]),
                                     runs=measured.RUNS,
                                     **where)
        images = images.only(d.image_id for d in passes[0].detections)
        rows = []
        for (name, _), done, speed in zip(plans, passes, speeds):
            evaluator = accuracy.CocoEvaluator.of(images)
            evaluator.process(done.detections)
            difference = accuracy.paired_difference(
                passes[0].detections,
                done.detections,
                images.annotation_path,
                category_ids=images.category_ids)
            agreed = accuracy.agreement_ap(passes[0].detections,
                                           done.detections)
            rows.append({
                'model': name,
                'images': len(images.records),
                'map': 100 * (evaluator.evaluate().map or 0.),
                'map_difference': 100 * difference.difference,
                'map_difference_low': 100 * difference.low,
                'map_difference_high': 100 * difference.high,
                'agreement_ap': 100 * (agreed.map or 0.),
                'latency_ms': speed.p50,
                'cpu_ms': speed.cpu_ms,
                'latency_ratio': speed.p50 / speeds[0].p50
            })
        self.found.confirmed = rows


def _never() -> Any:
    raise AssertionError('each layer was looked at')


def _spread(steps: Sequence[front.Step]) -> List[front.Step]:
    """At most MEASURED of the steps, evenly, the last one among them."""
    if len(steps) <= MEASURED:
        return list(steps)
    count = len(steps) - 1
    return [steps[round(i * count / (MEASURED - 1))] for i in range(MEASURED)]


def search(settings: config.Settings, model_dir: str, options: Options,
           command: List[str]) -> Dict[str, Any]:
    """Choose what stays in float, and make that model.

    Args:
        settings: the model's configuration.
        model_dir: a quantized model.
        options: see Options.
        command: as the user gave it, for the records.

    Returns:
        the record, which is also written, with a picture.

    Raises:
        UserError: bad input.
        CheckFailed: nothing holds what was asked; the record is written.
    """
    from . import search_chart, search_record
    start = time.perf_counter()
    check_writable(options.save_dir,
                   "--save_dir '%s'" % options.save_dir,
                   directory=True)
    one = Search(settings, model_dir, options)
    one.costs()
    one.rank()
    one.measure()
    found = one.found
    found.chosen = choice.choose(found.candidates, options.max_drop,
                                 options.min_gain)
    if found.chosen:
        found.directory = one.make(command)
        one.confirm()
    record = search_record.make(one, options, command,
                                time.perf_counter() - start)
    path = options.output_json or os.path.join(options.output_dir, RECORD)
    picture = os.path.join(options.output_dir, PICTURE)
    search_chart.draw(picture, found, options.max_drop)
    search_record.write(record, path)
    print(search_record.tables(record))
    print('\npicture: %s\nrecord: %s' % (picture, path))
    if not found.chosen:
        raise CheckFailed(record['conclusion'])
    return record
