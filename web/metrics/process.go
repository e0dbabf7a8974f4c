package metrics

import (
	"bytes"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
)

func goVersion() string { return runtime.Version() }

// process writes what Linux says of this process (proc(5)). What cannot be read,
// as on other systems, is left out.
func process(w *Writer) {
	if cpu, ok := cpuSeconds(); ok {
		w.One("process_cpu_seconds_total", Counter, "Time on a processor, in the program and in the kernel for it.", cpu)
	}
	if virtual, resident, ok := memory(); ok {
		w.One("process_virtual_memory_bytes", Gauge, "Memory mapped.", virtual)
		w.One("process_resident_memory_bytes", Gauge, "Memory in use.", resident)
	}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		w.One("process_open_fds", Gauge, "Files and sockets open.", float64(len(fds)))
	}
	if limit, ok := openFileLimit(); ok {
		w.One("process_max_fds", Gauge, "Files and sockets that may be open.", limit)
	}
}

// ticksPerSecond is what Linux counts times in for programs, on every machine.
const ticksPerSecond = 100

func cpuSeconds() (float64, bool) {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, false
	}
	// The name of the program stands in parentheses and may hold anything; the
	// fields after it count from 3. User and system time are 14 and 15.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0, false
	}
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond, err1 == nil && err2 == nil
}

func memory() (virtual, resident float64, ok bool) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0, false
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0, 0, false
	}
	v, err1 := strconv.ParseFloat(fields[0], 64)
	r, err2 := strconv.ParseFloat(fields[1], 64)
	page := float64(os.Getpagesize())
	return v * page, r * page, err1 == nil && err2 == nil
}

func openFileLimit() (float64, bool) {
	b, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		return 0, false
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		rest, found := strings.CutPrefix(line, "Max open files")
		fields := strings.Fields(rest)
		if !found || len(fields) == 0 {
			continue
		}
		if fields[0] == "unlimited" {
			return math.Inf(1), true
		}
		v, err := strconv.ParseFloat(fields[0], 64)
		return v, err == nil
	}
	return 0, false
}

// runtimeFigures writes what the Go runtime says of itself.
func runtimeFigures(w *Writer) {
	table := [...]struct {
		source, name string
		kind         Kind
		help         string
	}{
		{"/sched/goroutines:goroutines", "go_goroutines", Gauge, "Goroutines."},
		{"/sched/gomaxprocs:threads", "go_max_procs", Gauge, "Processors that Go code may use."},
		{"/memory/classes/total:bytes", "go_memory_total_bytes", Gauge, "Memory that the Go runtime has mapped."},
		{"/memory/classes/heap/objects:bytes", "go_memory_heap_objects_bytes", Gauge, "Memory of live objects and dead ones not yet swept."},
		{"/memory/classes/heap/released:bytes", "go_memory_heap_released_bytes", Gauge, "Memory given back to the system."},
		{"/gc/heap/allocs:bytes", "go_heap_allocated_bytes_total", Counter, "Bytes allocated on the heap."},
		{"/gc/heap/allocs:objects", "go_heap_allocated_objects_total", Counter, "Objects allocated on the heap."},
		{"/gc/cycles/total:gc-cycles", "go_gc_cycles_total", Counter, "Garbage collections."},
		{"/cpu/classes/gc/total:cpu-seconds", "go_gc_cpu_seconds_total", Counter, "Processor time of garbage collection, estimated."},
		{"/sync/mutex/wait/total:seconds", "go_mutex_wait_seconds_total", Counter, "Time that goroutines waited for mutexes."},
	}
	samples := make([]metrics.Sample, len(table))
	for i, t := range table {
		samples[i].Name = t.source
	}
	metrics.Read(samples)
	for i, t := range table {
		switch v := samples[i].Value; v.Kind() {
		case metrics.KindUint64:
			w.One(t.name, t.kind, t.help, float64(v.Uint64()))
		case metrics.KindFloat64:
			w.One(t.name, t.kind, t.help, v.Float64())
		default: // another Go has no such figure
		}
	}
}
