// The load generator of the ingestion benchmark: sends requests that were encoded beforehand in a
// closed loop, and measures answers and CPU time. It knows no message but the few bytes of an answer
// that say how many events are in Kafka; what is sent, and where to, is in the plan on its input.
package main

import (
	"encoding/json"
	"log"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// plan is one measurement, read as JSON from the standard input: arguments would show the key in `ps`.
type plan struct {
	Target        string `json:"target"`
	Method        string `json:"method"`
	Authorization string `json:"authorization"`
	Streaming     bool   `json:"streaming"`
	// Answer names the parser of a unary answer: see answers.go.
	Answer       string `json:"answer"`
	RequestsFile string `json:"requests_file"`
	Connections  int    `json:"connections"`
	// InFlight is the number of calls, or of unanswered batches of all streams together.
	InFlight int `json:"in_flight"`
	// EventsPerSecond is the pace; 0 is as fast as answers come.
	EventsPerSecond float64 `json:"events_per_second"`
	WarmUpSeconds   float64 `json:"warm_up_seconds"`
	Seconds         float64 `json:"seconds"`
	ServerPids      []int   `json:"server_pids"`
	BrokerPids      []int   `json:"broker_pids"`
}

func main() {
	log.SetFlags(0)
	var p plan
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		log.Fatalf("plan: %v", err)
	}
	result, err := run(p)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}

func run(p plan) (*result, error) {
	requests, err := readRequests(p.RequestsFile)
	if err != nil {
		return nil, err
	}
	connections, err := connect(p)
	if err != nil {
		return nil, err
	}
	meter := newMeter()
	senders := newSenders(p, requests, connections, meter)
	var running sync.WaitGroup
	for _, each := range senders {
		running.Go(each.run)
	}
	result, err := measure(p, meter)
	running.Wait()
	if err != nil {
		return nil, err
	}
	result.add(meter)
	return result, nil
}

func connect(p plan) ([]*grpc.ClientConn, error) {
	connections := make([]*grpc.ClientConn, p.Connections)
	for i := range connections {
		connection, err := grpc.NewClient(
			p.Target,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})),
		)
		if err != nil {
			return nil, err
		}
		connections[i] = connection
	}
	return connections, nil
}

// measure lets the load warm up, then reads CPU clocks at both ends of what counts.
func measure(p plan, meter *meter) (*result, error) {
	defer meter.stop()
	time.Sleep(seconds(p.WarmUpSeconds))
	before, err := readClocks(p)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	meter.counting.Store(true)
	time.Sleep(seconds(p.Seconds))
	meter.counting.Store(false)
	elapsed := time.Since(start)
	after, err := readClocks(p)
	if err != nil {
		return nil, err
	}
	return &result{
		Seconds:          elapsed.Seconds(),
		ServerCPUSeconds: after.server - before.server,
		BrokerCPUSeconds: after.broker - before.broker,
		OwnCPUSeconds:    after.own - before.own,
		BusyCPUSeconds:   after.busy - before.busy,
	}, nil
}

func seconds(count float64) time.Duration {
	return time.Duration(count * float64(time.Second))
}
