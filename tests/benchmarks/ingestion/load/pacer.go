// Pacing: a sender's events at a given rate, or as fast as answers come.
package main

import "time"

type pacer struct {
	// perEvent is 0 when nothing is paced.
	perEvent time.Duration
	due      time.Time
}

// newPacer spreads the first sends of `count` senders, so that they do not knock together.
func newPacer(eventsPerSecond float64, index, count int) pacer {
	if eventsPerSecond == 0 {
		return pacer{}
	}
	perEvent := time.Duration(float64(time.Second) / eventsPerSecond)
	return pacer{perEvent, time.Now().Add(perEvent * time.Duration(index) / time.Duration(count))}
}

// wait returns when `events` are due, and since when they are: a late sender's answer counts from
// the time at which it should have sent, or a slow server would hide its own queue.
func (p *pacer) wait(events int) time.Time {
	if p.perEvent == 0 {
		return time.Now()
	}
	due := p.due
	p.due = due.Add(p.perEvent * time.Duration(events))
	time.Sleep(time.Until(due))
	return due
}
