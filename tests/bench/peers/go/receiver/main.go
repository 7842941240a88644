// The far side of the bench: answers every request with 204 after a delay, as cheaply as Go can, and counts repeats.
//
// It reads just enough of HTTP/1.1 to find where a request ends: a head, then Content-Length bytes. A repeat is a
// webhook-id that was answered with 204 before. With -fail, that percentage of webhook-ids is answered with 503 the first
// time. A body with "sent_us": N says when its event was published, in microseconds since 1970, and how long that is ago
// is kept. Prints one line of JSON: the URL to call, and one that tells the counts; with ?reset it begins to count anew.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const shards = 64

// What a webhook-id came to so far.
const (
	failed   = 1
	answered = 2
)

var (
	answer   = []byte("HTTP/1.1 204 No Content\r\n\r\n")
	refusal  = []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	sent     = []byte("\"sent_us\":")
	requests atomic.Int64 // answered with 204
	failures atomic.Int64
	repeats  atomic.Int64
	first    atomic.Int64 // when the first request was answered, in microseconds since 1970
	seed     = maphash.MakeSeed()
	seen     [shards]struct {
		sync.Mutex
		ids   map[uint64]int
		waits []int32 // microseconds from an event's publishing to its request
	}
)

// note counts a request and tells whether it is to fail.
func note(id []byte, failPercent uint64, waited int64) bool {
	hash := maphash.Bytes(seed, id)
	shard := &seen[hash%shards]
	shard.Lock()
	defer shard.Unlock()
	before := shard.ids[hash]
	if before == 0 && hash>>32%100 < failPercent {
		shard.ids[hash] = failed
		failures.Add(1)
		return true
	}
	if before == answered {
		repeats.Add(1)
	}
	shard.ids[hash] = answered
	if waited >= 0 {
		shard.waits = append(shard.waits, int32(waited))
	}
	if requests.Add(1) == 1 {
		first.Store(time.Now().UnixMicro())
	}
	return false
}

// ago returns the microseconds since the event of a body was published, or -1.
func ago(body []byte) int64 {
	_, rest, found := bytes.Cut(body, sent)
	if !found {
		return -1
	}
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	published, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	if err != nil {
		return -1
	}
	return time.Now().UnixMicro() - published
}

func counts(writer http.ResponseWriter, asked *http.Request) {
	var waits []int32
	for at := range seen {
		seen[at].Lock()
		waits = append(waits, seen[at].waits...)
		if asked.URL.Query().Has("reset") {
			seen[at].waits = nil
		}
		seen[at].Unlock()
	}
	sort.Slice(waits, func(one, other int) bool { return waits[one] < waits[other] })
	told := map[string]int64{"requests": requests.Load(), "failures": failures.Load(), "repeats": repeats.Load(),
		"first_us": first.Load(), "waits": int64(len(waits))}
	if len(waits) > 0 {
		told["p50_us"], told["p99_us"] = int64(waits[len(waits)/2]), int64(waits[len(waits)*99/100])
		told["max_us"] = int64(waits[len(waits)-1])
	}
	json.NewEncoder(writer).Encode(told)
}

func serve(connection net.Conn, delay time.Duration, failPercent uint64) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 4096)
	var id, body []byte
	for {
		length := 0
		id = id[:0]
		for {
			line, err := reader.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) <= 2 {
				break
			}
			if name, content, found := bytes.Cut(line, []byte(":")); found {
				if len(name) == 14 && bytes.EqualFold(name, []byte("content-length")) {
					length, _ = strconv.Atoi(string(bytes.TrimSpace(content)))
				} else if len(name) == 10 && bytes.EqualFold(name, []byte("webhook-id")) {
					id = append(id, bytes.TrimSpace(content)...)
				}
			}
		}
		if cap(body) < length {
			body = make([]byte, length)
		}
		body = body[:length]
		if _, err := io.ReadFull(reader, body); err != nil {
			return
		}
		waited := ago(body)
		if delay > 0 {
			time.Sleep(delay)
		}
		told := answer
		if note(id, failPercent, waited) {
			told = refusal
		}
		if _, err := connection.Write(told); err != nil {
			return
		}
	}
}

func main() {
	delay := flag.Duration("delay", 0, "before each answer")
	failPercent := flag.Uint64("fail", 0, "percentage of webhook-ids that are answered with 503 the first time")
	certificate := flag.String("certificate", "", "file of a certificate: TLS, with -key")
	key := flag.String("key", "", "file of the certificate's key")
	flag.Parse()
	for at := range seen {
		seen[at].ids = make(map[uint64]int)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	scheme := "http"
	port := listener.Addr().(*net.TCPAddr).Port
	if *certificate != "" {
		pair, err := tls.LoadX509KeyPair(*certificate, *key)
		if err != nil {
			panic(err)
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
		scheme = "https"
	}
	go http.Serve(control, http.HandlerFunc(counts))
	host := map[string]string{"http": "127.0.0.1", "https": "localhost"}[scheme]
	fmt.Printf("{\"url\": \"%s://%s:%d\", \"counts\": \"http://%s\"}\n", scheme, host, port, control.Addr())
	go func() { // whoever started this closes its standard input, or ends
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go serve(connection, *delay, *failPercent)
	}
}
