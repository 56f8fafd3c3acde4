# Two commands are all a new user types: `make demo` and `make test`. Each makes .venv if it is missing.
PYTHON ?= python3
PIP = .venv/bin/pip install --quiet --constraint constraints.txt
export OMP_WAIT_POLICY = PASSIVE

.PHONY: demo test lint bench gpu gpu-wheels results cards docs conformance clean

demo: .venv/.demo
	.venv/bin/llm-marl study --arms shared shuffled prompted --seeds 1 --steps 30 --eval-every 5 --out runs/demo
	.venv/bin/llm-marl score runs/demo
	@echo
	@echo "Look at runs/demo/report.html and runs/demo/learning_curve.png. Then try:"
	@echo "  .venv/bin/llm-marl play arithmetic/eval_opt-v1 --seat evaluator_0      take a seat in the team"
	@echo "  .venv/bin/llm-marl train --method isolated --out runs/isolated         one policy per role"
	@echo "  .venv/bin/llm-marl train --workflow voting --temperature 1 --out runs/voting"
	@echo "  .venv/bin/llm-marl evaluate runs/demo/shared-seed1 --split validation"
	@echo "  .venv/bin/llm-marl envs                                                all environments"

test: .venv/.dev
	.venv/bin/pytest -n 2 --dist worksteal -m "not slow" --ignore=tests/benchmarks

lint: .venv/.dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright

bench: .venv/.dev
	.venv/bin/pytest tests/benchmarks --benchmark-enable --benchmark-only --benchmark-columns=median,iqr,rounds -s

# Training on a CUDA card, or the same checks on the CPU if there is none: docs/performance.md. It uses .venv if there is one, else
# the torch of $(PYTHON), which may lack the rest: `make gpu-wheels` fetches that for a machine without a network.
GPU_OUT ?= runs/gpu
GPU_PYTHON ?= 3.12

gpu:
	python=$$($(PYTHON) tests/gpu/offline.py python) && "$$python" -m pytest tests/gpu --out=$(GPU_OUT)

gpu-wheels:
	$(PYTHON) tests/gpu/offline.py download $(GPU_PYTHON)

# The figures of docs/results.md: about half an hour on two cores.
results: .venv/.demo
	.venv/bin/llm-marl study --arms shared isolated shuffled shared:solo --seeds 0 1 2 --steps 60 --eval-every 10 --out runs/results
	.venv/bin/llm-marl score runs/results

# Other libraries, each in an environment of its own, trained on our environments: docs/conformance.md.
conformance:
	$(PYTHON) conformance/run.py

# The pages of docs/tasks, from the code.
cards: .venv/.dev
	.venv/bin/python -m llm_marl_envs.cli.cards docs

# The site, into build/site; a link that leads nowhere is an error.
docs: .venv/.dev
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

clean:
	rm -rf .venv runs build dist *.egg-info

.venv/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable '.[train,report]'
	@touch $@

.venv/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable '.[all,dev]'
	@touch $@
