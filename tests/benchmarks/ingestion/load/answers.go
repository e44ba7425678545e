// Answers: how many events of a request are in Kafka, by the few fields that say so.
package main

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// outcome is what an answer says of the events of one request.
type outcome struct {
	accepted int
	// repeated events were known already: the measurement would be wrong, as these cost less.
	repeated int
	// upTo is the last sequence of a stream that the answer speaks of.
	upTo uint64
}

type parser func(answer []byte, events int) (outcome, error)

// parsers of unary answers by their name in the plan.
var parsers = map[string]parser{
	"circles": parseResults,
	"otlp":    parsePartialSuccess,
	"empty":   func(_ []byte, events int) (outcome, error) { return outcome{accepted: events}, nil },
}

// Values of circles.common.v1.EventStatus.
const (
	statusAccepted  = 1
	statusDuplicate = 3
)

// parseResults reads Post…EventsResponse: results = 1.
func parseResults(answer []byte, _ int) (outcome, error) {
	var found outcome
	err := eachField(answer, func(number protowire.Number, _ uint64, bytes []byte) error {
		if number != 1 {
			return nil
		}
		status, err := statusOf(bytes)
		switch status {
		case statusAccepted:
			found.accepted++
		case statusDuplicate:
			found.repeated++
		}
		return err
	})
	return found, err
}

// parseStreamed reads Stream…EventsResponse: acknowledged_sequence = 1, count_acknowledged = 2,
// results = 3 of those that say more than accepted.
func parseStreamed(answer []byte) (outcome, error) {
	var found outcome
	acknowledged := 0
	err := eachField(answer, func(number protowire.Number, value uint64, bytes []byte) error {
		switch number {
		case 1:
			found.upTo = value
		case 2:
			acknowledged = int(value)
		case 3:
			status, err := statusOf(bytes)
			if status == statusDuplicate {
				found.repeated++
			}
			return err
		}
		return nil
	})
	found.accepted = acknowledged - found.repeated
	return found, err
}

// statusOf reads EventResult: status = 3.
func statusOf(result []byte) (status uint64, err error) {
	err = eachField(result, func(number protowire.Number, value uint64, _ []byte) error {
		if number == 3 {
			status = value
		}
		return nil
	})
	return status, err
}

// parsePartialSuccess reads ExportLogsServiceResponse: partial_success = 1, in it rejected_log_records = 1.
func parsePartialSuccess(answer []byte, events int) (outcome, error) {
	rejected := 0
	err := eachField(answer, func(_ protowire.Number, _ uint64, partial []byte) error {
		return eachField(partial, func(number protowire.Number, value uint64, _ []byte) error {
			if number == 1 {
				rejected = int(value)
			}
			return nil
		})
	})
	return outcome{accepted: events - rejected}, err
}

// eachField calls `see` for every varint and every length-delimited field.
func eachField(message []byte, see func(protowire.Number, uint64, []byte) error) error {
	for len(message) > 0 {
		number, kind, length := protowire.ConsumeTag(message)
		if length < 0 {
			return fmt.Errorf("answer: %w", protowire.ParseError(length))
		}
		message = message[length:]
		var value uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			value, length = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			bytes, length = protowire.ConsumeBytes(message)
		default:
			length = protowire.ConsumeFieldValue(number, kind, message)
		}
		if length < 0 {
			return fmt.Errorf("answer: %w", protowire.ParseError(length))
		}
		message = message[length:]
		if err := see(number, value, bytes); err != nil {
			return err
		}
	}
	return nil
}
