// Requests: encoded beforehand, and made new each time they are sent.
package main

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"

	"google.golang.org/grpc/mem"
)

const uuidLength = 36

// request is a template. Fresh holds the places of the UUIDs that must differ each time: a server
// that remembers event_ids would answer a second copy without doing the work.
type request struct {
	Body   []byte `json:"body"`
	Events int    `json:"events"`
	Fresh  []int  `json:"fresh"`
}

func readRequests(path string) ([]request, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var requests []request
	if err := json.NewDecoder(file).Decode(&requests); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return requests, nil
}

// outgoing is a template about to be sent. Sequence is 0 for a call of its own.
type outgoing struct {
	template *request
	sequence uint64
}

// encode copies the template into a buffer that gRPC gives back, and makes its UUIDs new.
func (o outgoing) encode() mem.BufferSlice {
	head := make([]byte, 0, 1+binary.MaxVarintLen64)
	if o.sequence > 0 {
		const tagOfSequence = 1 << 3
		head = binary.AppendUvarint(append(head, tagOfSequence), o.sequence)
	}
	pool := mem.DefaultBufferPool()
	buffer := pool.Get(len(head) + len(o.template.Body))
	body := (*buffer)[copy(*buffer, head):]
	copy(body, o.template.Body)
	for _, place := range o.template.Fresh {
		putUUID(body[place : place+uuidLength])
	}
	return mem.BufferSlice{mem.NewBuffer(buffer, pool)}
}

var (
	uuidsMade  atomic.Uint64
	uuidsBegin = rand.Uint64()
)

// putUUID writes a UUID that no other call of any run gets. Its bits look random, because counting
// ones would compress and hash better than those of a partner.
func putUUID(place []byte) {
	number := uuidsBegin + uuidsMade.Add(1)
	var bits [16]byte
	binary.BigEndian.PutUint64(bits[:8], scramble(number))
	binary.BigEndian.PutUint64(bits[8:], scramble(^number))
	bits[6] = bits[6]&0x0f | 0x40
	bits[8] = bits[8]&0x3f | 0x80
	hex.Encode(place[:8], bits[:4])
	hex.Encode(place[9:13], bits[4:6])
	hex.Encode(place[14:18], bits[6:8])
	hex.Encode(place[19:23], bits[8:10])
	hex.Encode(place[24:36], bits[10:])
}

// scramble is the output function of SplitMix64: it maps different numbers to different numbers.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// rawCodec sends an outgoing and receives into a []byte.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(message any) (mem.BufferSlice, error) {
	return message.(outgoing).encode(), nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*[]byte) = data.Materialize()
	return nil
}
