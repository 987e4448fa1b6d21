# Two commands on a fresh machine: `make demo` and `make test`. Each installs what it needs (Debian packages, .venv).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
FUZZ_SECONDS ?= 15
MESSAGES ?= 1000000
CONFIG ?= examples/two-tenants.yaml

.PHONY: all deps-build deps-test build demo run test test-c test-fuzz test-sanitized test-python test-qemu ryu-env bench bench-vm bench-rules bench-rule-misses bench-containers bench-netdev bench-tap-calls bench-tunnel bench-instructions bench-isolation bench-control bench-path bench-programming bench-round-trip bench-churn conformance fuzz-openflow interop faucet-env soak clean

all: build

deps-build:
	@$(SUDO) packaging/install-debian build

deps-test:
	@$(SUDO) packaging/install-debian build test

$(VENV)/.ready: pyproject.toml | deps-build
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check $$($(PYTHON) packaging/requirements.py build test controllers)
	touch $@

# The wheel: executable, cffi module, Python package, into .venv. Seconds when nothing has changed.
build: deps-build $(VENV)/.ready
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall \
	  --config-settings=build-dir=build/release .

demo: deps-test build
	$(SUDO) $(BIN)/python demo/demo.py

run: build
	$(SUDO) $(BIN)/python -P demo/run.py $(CONFIG)

ryu-env: deps-build
	controllers/ryu_env.sh build/ryu

test: deps-test build test-c test-fuzz test-python

# C unit tests under the address and undefined-behaviour sanitizers.
test-c: deps-test $(VENV)/.ready
	test -f build/asan/build.ninja || meson setup build/asan -Dpython=false -Db_sanitize=address,undefined \
	  -Dbuildtype=debugoptimized -Db_lundef=false >build/asan.log 2>&1
	meson compile -C build/asan >/dev/null
	meson test -C build/asan --print-errorlogs

# The parsers under a fuzzer, for FUZZ_SECONDS each.
test-fuzz: deps-test $(VENV)/.ready
	test -f build/fuzz/build.ninja || CC=clang meson setup build/fuzz -Dpython=false -Dfuzz=true \
	  -Db_sanitize=address,undefined -Dbuildtype=debugoptimized -Db_lundef=false >build/fuzz.log 2>&1
	meson compile -C build/fuzz >/dev/null
	datapath_c/fuzz/run.sh build/fuzz $(FUZZ_SECONDS)

# The whole switch with the datapath under the sanitizers: traffic, crashes, changes under traffic, sessions. About four minutes, so not a
# part of make test.
SANITIZED := test_churn test_crash_traffic test_vxlan_kernel test_tap_queues test_daemon_openflow test_daemon_controllers \
  test_daemon_crash test_vhost_user test_vxlan_uplink test_vxlan_kernel_routes test_vxlan_steering test_vxlan_merge test_afxdp test_rebalance
test-sanitized: test-c build
	$(SUDO) env PATH="$$PATH" VSWITCH_SKIP_NOTHING=1 UBSAN_OPTIONS=halt_on_error=1 VSWITCH_DATAPATH=$(CURDIR)/build/asan/datapath_c/vswitch-datapath \
	  $(BIN)/python -P -m pytest -q $(SANITIZED:%=tests/system/%.py)

# Unit, sim, system, interop and docs tests. As root: the system tests make their own network namespaces. Those that stay in their own
# processes run two at a time.
ALONE := tests/unit tests/sim
test-python: deps-test build ryu-env faucet-env
	$(SUDO) env PATH="$$PATH" VSWITCH_SKIP_NOTHING=1 $(BIN)/python -P -m pytest -n 2 --dist loadfile $(ALONE)
	$(SUDO) env PATH="$$PATH" VSWITCH_RYU_ENV=$(CURDIR)/build/ryu VSWITCH_SKIP_NOTHING=1 $(BIN)/python -P -m pytest tests \
	  $(ALONE:%=--ignore=%) $(QEMU:%=--ignore=%) --durations=20
	@echo "not run here: $(QEMU) (make test-qemu); system tests with a sanitized datapath (make test-sanitized)"

# Guests in QEMU, by tap, macvtap and vhost-user, and one that migrates: about six minutes, so not a part of make test.
QEMU := tests/system/test_qemu_guest.py tests/system/test_qemu_vhost_user.py tests/system/test_qemu_migration.py
test-qemu: deps-test build
	$(SUDO) env PATH="$$PATH" VSWITCH_SKIP_NOTHING=1 $(BIN)/python -P -m pytest $(QEMU)

# Mixed load while everything comes and goes: memory stays flat, every packet is accounted for. An hour, or MINUTES; with
# VSWITCH_DATAPATH=build/asan/datapath_c/vswitch-datapath (make test-c makes it) under the sanitizers.
MINUTES ?= 60
soak: deps-test build
	$(SUDO) env PATH="$$PATH" VSWITCH_DATAPATH=$(abspath $(VSWITCH_DATAPATH)) $(BIN)/python -P tests/soak/soak.py --minutes $(MINUTES)

bench: deps-test build
	$(SUDO) $(BIN)/python -P benchmarks/containers.py
	$(SUDO) $(BIN)/python -P benchmarks/vm_ports.py

# Virtual machines' ports alone, beside Open vSwitch with DPDK.
bench-vm: deps-test build
	$(SUDO) $(BIN)/python -P benchmarks/vm_ports.py

# What a million rules and 64 masks cost; some minutes.
bench-rules: deps-test build
	$(SUDO) $(BIN)/python -P benchmarks/vm_ports.py --rows exact-1000000,exact-1000000-flows,masks-100000

# Cache lines and pages that a packet touches with few rules and with many, counted; BESIDE=FILE, another build's bench_vhost.
bench-rule-misses: deps-test build
	@$(SUDO) packaging/install-debian count
	$(BIN)/python -P benchmarks/rule_misses.py $(if $(BESIDE),--beside $(BESIDE))

# TCP and round trips between two containers alone.
bench-containers: deps-test build
	$(SUDO) $(BIN)/python -P benchmarks/containers.py

# netdev ports by AF_XDP, beside AF_PACKET.
bench-netdev: deps-test build
	$(SUDO) $(BIN)/python -P benchmarks/netdev_ports.py

# What io_uring would save a tap's frames, several in a call.
bench-tap-calls: deps-build $(VENV)/.ready
	@$(SUDO) packaging/install-debian taps
	test -f build/taps/build.ninja || meson setup build/taps -Dpython=false >build/taps.log 2>&1
	meson compile -C build/taps tap_calls >/dev/null
	$(SUDO) build/taps/datapath_c/bench/tap_calls

# TCP through a VXLAN tunnel into a container; BESIDE=FILE, another build's vswitch-datapath, by turns.
bench-tunnel: deps-test build
	$(SUDO) $(BIN)/python -P benchmarks/tunnel_tcp.py $(if $(BESIDE),--beside $(BESIDE))

# Instructions per packet and stage between virtual machines, counted; BEFORE=FILE compares with an earlier run's.
bench-instructions: deps-test build
	@$(SUDO) packaging/install-debian count
	$(BIN)/python -P benchmarks/vm_instructions.py $(if $(BEFORE),--compare $(BEFORE))

faucet-env: deps-build
	controllers/faucet_env.sh build/faucet

# Controllers and tools as they come: Debian's ovs-ofctl and ovs-testcontroller, Ryu's own sample apps, os-ken, Faucet.
interop: deps-test build ryu-env faucet-env
	env PATH="$$PATH" VSWITCH_RYU_ENV=$(CURDIR)/build/ryu VSWITCH_SKIP_NOTHING=1 $(BIN)/python -P -m pytest -v tests/interop

# A victim beside each adversary, with protection and without: what of time protection's claims holds.
OUT ?= build/isolation
bench-isolation: deps-test build
	$(BIN)/python -P benchmarks/isolation.py $(OUT)
	$(SUDO) $(BIN)/python -P benchmarks/isolation_vms.py $(OUT)

# A controller's flow-mods beside another tenant's controller that never stops.
bench-control: build
	$(SUDO) $(BIN)/python -P benchmarks/control_fairness.py

# How fast rules go in and out, beside Open vSwitch.
bench-programming: deps-test build
	$(SUDO) $(BIN)/python -P benchmarks/programming.py

# Mutated OpenFlow messages of each version at a real switch; rules that must come back as they were, and malformations with their errors.
fuzz-openflow: deps-test build
	$(BIN)/python -P tests/conformance/message_fuzz.py --messages $(MESSAGES)
	$(BIN)/python -P tests/conformance/rule_fuzz.py --messages $(MESSAGES)

# From a packet that no rule knows to the controller's answer, beside Open vSwitch.
bench-round-trip: deps-test build
	$(SUDO) $(BIN)/python -P benchmarks/packet_in_round_trip.py

# What rules that change cost the packets of the same bridge, and of another tenant's.
bench-churn: deps-test build
	$(SUDO) $(BIN)/python -P benchmarks/churn.py

# Every published conformance case, against the real switch.
conformance: deps-test build
	$(SUDO) $(BIN)/python -P tests/conformance/run.py $(CASES)

# Cycles per packet in each stage, without ports; and of busy tenants with and without protection.
bench-path: build
	for flows in 1 1000 10000 100000; do build/release/datapath_c/bench/bench_path $$flows; done
	for tenants in 1 8 64; do build/release/datapath_c/bench/bench_turns $$tenants; done

clean:
	rm -rf build
