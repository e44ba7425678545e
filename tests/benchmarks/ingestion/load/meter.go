// Counting: answers by their kind and latency, while the meter counts.
package main

import (
	"slices"
	"sync/atomic"
	"time"
)

// meter belongs to all senders; each has a tally of its own, so that counting needs no lock.
type meter struct {
	counting atomic.Bool
	ended    atomic.Bool
	tallies  []*tally
}

type tally struct {
	accepted  int
	repeated  int
	latencies []time.Duration
	// errors are events by the reason for which they were not accepted.
	errors map[string]int
	// firstError is in full, for a person.
	firstError string
}

func newMeter() *meter { return &meter{} }

func (m *meter) newTally() *tally {
	made := &tally{errors: map[string]int{}}
	m.tallies = append(m.tallies, made)
	return made
}

func (m *meter) stop() { m.ended.Store(true) }

func (m *meter) stopped() bool { return m.ended.Load() }

// answered counts a request of `events` that was sent, or due, at `begin`.
func (m *meter) answered(t *tally, begin time.Time, events int, found outcome) {
	if !m.counting.Load() {
		return
	}
	t.latencies = append(t.latencies, time.Since(begin))
	t.accepted += found.accepted
	t.repeated += found.repeated
	if missing := events - found.accepted - found.repeated; missing != 0 {
		t.fail("not accepted", "the answer does not say of every event that it is accepted", missing)
	}
}

// failed counts the events of a request without a usable answer.
func (m *meter) failed(t *tally, events int, err error) {
	if m.counting.Load() {
		t.fail(code(err), err.Error(), events)
	}
}

func (t *tally) fail(reason, words string, events int) {
	t.errors[reason] += events
	if t.firstError == "" {
		t.firstError = words
	}
}

// result is printed as JSON.
type result struct {
	Seconds          float64        `json:"seconds"`
	Accepted         int            `json:"accepted"`
	Repeated         int            `json:"repeated"`
	Errors           map[string]int `json:"errors"`
	FirstError       string         `json:"first_error"`
	P50Milliseconds  float64        `json:"p50_ms"`
	P99Milliseconds  float64        `json:"p99_ms"`
	ServerCPUSeconds float64        `json:"server_cpu_seconds"`
	BrokerCPUSeconds float64        `json:"broker_cpu_seconds"`
	OwnCPUSeconds    float64        `json:"own_cpu_seconds"`
	// BusyCPUSeconds are those of all programs on the machine.
	BusyCPUSeconds float64 `json:"busy_cpu_seconds"`
}

// add sums the tallies of senders that have ended.
func (r *result) add(m *meter) {
	r.Errors = map[string]int{}
	var latencies []time.Duration
	for _, each := range m.tallies {
		r.Accepted += each.accepted
		r.Repeated += each.repeated
		latencies = append(latencies, each.latencies...)
		for reason, events := range each.errors {
			r.Errors[reason] += events
		}
		if r.FirstError == "" {
			r.FirstError = each.firstError
		}
	}
	slices.Sort(latencies)
	r.P50Milliseconds = quantile(latencies, 0.50)
	r.P99Milliseconds = quantile(latencies, 0.99)
}

func quantile(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	place := int(share * float64(len(sorted)-1))
	return float64(sorted[place]) / float64(time.Millisecond)
}
