// Senders: each has one unary call, or one stream, under way at any time.
package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	// A server that refuses is asked again after this long: asking in a tight loop would only heat the machine.
	pauseAfterError = 20 * time.Millisecond
	// How long a call, and the end of a stream, may take before the run goes on without it.
	patience = 10 * time.Second
	// Our gateway lets so many batches of a stream be unanswered, and reads no further ones meanwhile.
	window = 16
)

type sender struct {
	plan       plan
	requests   []request
	connection *grpc.ClientConn
	meter      *meter
	tally      *tally
	pacer      pacer
	// inFlight is the number of unanswered batches of a stream.
	inFlight int
	next     int
}

func newSenders(p plan, requests []request, connections []*grpc.ClientConn, meter *meter) []*sender {
	count, inFlight := p.InFlight, 1
	if p.Streaming {
		count = max(len(connections), p.InFlight/window)
		inFlight = p.InFlight / count
	}
	senders := make([]*sender, count)
	for i := range senders {
		senders[i] = &sender{
			plan:       p,
			requests:   requests,
			connection: connections[i%len(connections)],
			meter:      meter,
			tally:      meter.newTally(),
			pacer:      newPacer(p.EventsPerSecond/float64(count), i, count),
			inFlight:   inFlight,
			next:       rand.IntN(len(requests)),
		}
	}
	return senders
}

func (s *sender) run() {
	for !s.meter.stopped() {
		var err error
		if s.plan.Streaming {
			err = s.stream()
		} else {
			err = s.call()
		}
		if err != nil {
			time.Sleep(pauseAfterError)
		}
	}
}

func (s *sender) template() *request {
	s.next = (s.next + 1) % len(s.requests)
	return &s.requests[s.next]
}

func (s *sender) context() context.Context {
	if s.plan.Authorization == "" {
		return context.Background()
	}
	return metadata.AppendToOutgoingContext(context.Background(), "authorization", s.plan.Authorization)
}

// call posts one request and waits for its answer.
func (s *sender) call() error {
	ctx, cancel := context.WithTimeout(s.context(), patience)
	defer cancel()
	template := s.template()
	begin := s.pacer.wait(template.Events)
	var answer []byte
	err := s.connection.Invoke(ctx, s.plan.Method, outgoing{template: template}, &answer)
	if err == nil {
		var found outcome
		if found, err = parsers[s.plan.Answer](answer, template.Events); err == nil {
			s.meter.answered(s.tally, begin, template.Events, found)
			return nil
		}
	}
	s.meter.failed(s.tally, template.Events, err)
	return err
}

// sentBatch waits for its answer.
type sentBatch struct {
	sequence uint64
	events   int
	begin    time.Time
}

// stream sends batches until the run stops or the stream breaks; `waiting` bounds the unanswered ones.
func (s *sender) stream() error {
	ctx, cancel := context.WithCancel(s.context())
	defer cancel()
	description := grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := s.connection.NewStream(ctx, &description, s.plan.Method)
	if err != nil {
		s.meter.failed(s.tally, 0, err)
		return err
	}
	waiting := make(chan sentBatch, s.inFlight)
	ended := make(chan error, 1)
	go func() { ended <- s.receive(stream, waiting) }()
	for sequence := uint64(1); !s.meter.stopped(); sequence++ {
		template := s.template()
		begin := s.pacer.wait(template.Events)
		select {
		case waiting <- sentBatch{sequence, template.Events, begin}:
		case err := <-ended:
			return err
		}
		if stream.SendMsg(outgoing{template, sequence}) != nil {
			return <-ended // the receiver has the reason
		}
	}
	// A server that never ends the stream must not hold up the run.
	time.AfterFunc(patience, cancel)
	_ = stream.CloseSend() // the receiver has the reason
	return <-ended
}

// receive takes answers until the stream ends, and counts what was never answered as failed.
func (s *sender) receive(stream grpc.ClientStream, waiting chan sentBatch) error {
	for {
		var answer []byte
		err := stream.RecvMsg(&answer)
		if err == nil {
			err = s.settle(answer, waiting)
		}
		if err == io.EOF && len(waiting) == 0 {
			return nil
		}
		if err != nil {
			unanswered := 0
			for len(waiting) > 0 {
				unanswered += (<-waiting).events
			}
			s.meter.failed(s.tally, unanswered, err)
			return err
		}
	}
}

// settle matches an answer with the batches that it speaks of.
func (s *sender) settle(answer []byte, waiting chan sentBatch) error {
	found, err := parseStreamed(answer)
	if err != nil {
		return err
	}
	for {
		select {
		case batch := <-waiting:
			if batch.sequence == found.upTo {
				s.meter.answered(s.tally, batch.begin, batch.events, found)
				return nil
			}
			// One answer may speak for several batches; of all but the last every event is accepted.
			found.accepted -= batch.events
			s.meter.answered(s.tally, batch.begin, batch.events, outcome{accepted: batch.events})
		default:
			return fmt.Errorf("answer to batch %d, which is not under way", found.upTo)
		}
	}
}

// code names an error for counting.
func code(err error) string {
	if answer, ok := status.FromError(err); ok {
		return answer.Code().String()
	}
	return "other"
}
