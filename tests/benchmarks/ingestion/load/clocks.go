// CPU time of processes and of the machine, from /proc.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ticksPerSecond is what Linux reports to programs on every architecture that Go supports.
const ticksPerSecond = 100

// clocks are CPU seconds, user and system, since the processes began; busy is the whole machine's.
type clocks struct{ server, broker, own, busy float64 }

func readClocks(p plan) (found clocks, err error) {
	if found.server, err = cpuSeconds(p.ServerPids); err != nil {
		return found, err
	}
	if found.broker, err = cpuSeconds(p.BrokerPids); err != nil {
		return found, err
	}
	if found.own, err = cpuSeconds([]int{os.Getpid()}); err != nil {
		return found, err
	}
	found.busy, err = busySeconds()
	return found, err
}

func cpuSeconds(pids []int) (float64, error) {
	total := 0.0
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The second field is the program's name in brackets, and may have anything in it.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		seconds, err := sumOfTicks(fields[11:13]) // utime and stime
		if err != nil {
			return 0, err
		}
		total += seconds
	}
	return total, nil
}

// busySeconds sums user, nice and system time, and that of interrupts.
func busySeconds() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	return sumOfTicks(append(fields[1:4:4], fields[6:8]...))
}

func sumOfTicks(fields []string) (float64, error) {
	total := 0
	for _, field := range fields {
		ticks, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		total += ticks
	}
	return float64(total) / ticksPerSecond, nil
}
