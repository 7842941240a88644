// The far side of the bench: answers every request with 204 after a delay, as cheaply as Go can, and counts repeats.
//
// It reads just enough of HTTP/1.1 to find where a request ends: a head, then Content-Length bytes. A repeat is a
// webhook-id that was seen before. Prints one line of JSON: the URL to call, and one that tells the counts.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const shards = 64

var (
	answer   = []byte("HTTP/1.1 204 No Content\r\n\r\n")
	requests atomic.Int64
	repeats  atomic.Int64
	seed     = maphash.MakeSeed()
	seen     [shards]struct {
		sync.Mutex
		ids map[uint64]struct{}
	}
)

func note(id []byte) {
	hash := maphash.Bytes(seed, id)
	shard := &seen[hash%shards]
	shard.Lock()
	if _, known := shard.ids[hash]; known {
		repeats.Add(1)
	} else {
		shard.ids[hash] = struct{}{}
	}
	shard.Unlock()
}

func serve(connection net.Conn, delay time.Duration) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 4096)
	var id []byte
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
		if _, err := io.CopyN(io.Discard, reader, int64(length)); err != nil {
			return
		}
		if delay > 0 {
			time.Sleep(delay)
		}
		note(id)
		requests.Add(1)
		if _, err := connection.Write(answer); err != nil {
			return
		}
	}
}

func main() {
	delay := flag.Duration("delay", 0, "before each answer")
	flag.Parse()
	for at := range seen {
		seen[at].ids = make(map[uint64]struct{})
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(control, http.HandlerFunc(func(writer http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(writer).Encode(map[string]int64{"requests": requests.Load(), "repeats": repeats.Load()})
	}))
	fmt.Printf("{\"url\": \"http://%s\", \"counts\": \"http://%s\"}\n", listener.Addr(), control.Addr())
	go func() { // whoever started this closes its standard input, or ends
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go serve(connection, *delay)
	}
}
