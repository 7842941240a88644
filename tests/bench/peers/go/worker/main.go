// What an experienced team writes by hand in Go: consume, decode, build the body, sign, send. No commits, no retries, no
// outcomes, no traces: it shows what the work itself costs.
//
// Environment: BOOTSTRAP, TOPIC, GROUP, URL, IN_FLIGHT, SECRET (base64), SCHEMA (the Avro schema's JSON).
package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

const singleObjectHead = 10

type customer struct {
	ID       string            `avro:"id"`
	Email    *string           `avro:"email"`
	Phone    *string           `avro:"phone"`
	Timezone *string           `avro:"timezone"`
	IDs      map[string]string `avro:"ids"`
}

type event struct {
	ID         string            `avro:"id"`
	Type       string            `avro:"type"`
	Time       time.Time         `avro:"time"`
	Customer   customer          `avro:"customer"`
	Consent    map[string]string `avro:"consent"`
	Source     map[string]string `avro:"source"`
	Properties map[string]any    `avro:"properties"`
}

type body struct {
	Customer string `json:"customer"`
	Email    string `json:"email"`
	Plan     any    `json:"plan"`
	Seats    any    `json:"seats"`
	At       string `json:"at"`
	Source   string `json:"source"`
}

func must[T any](made T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return made
}

// plain takes the value out of what hamba/avro makes of a union of more than two types.
func plain(found any) any {
	if branch, ok := found.(map[string]any); ok {
		for _, value := range branch {
			return value
		}
	}
	return found
}

type worker struct {
	client *http.Client
	url    string
	secret []byte
	schema avro.Schema
}

func (w *worker) handle(value []byte) error {
	var found event
	if err := avro.Unmarshal(w.schema, value[singleObjectHead:], &found); err != nil {
		return err
	}
	plan := plain(found.Properties["plan"])
	if plan != "pro" || found.Consent["email"] != "granted" || found.Customer.Email == nil {
		return nil
	}
	content, err := json.Marshal(body{found.Customer.ID, *found.Customer.Email, plan, plain(found.Properties["seats"]),
		found.Time.UTC().Format("2006-01-02T15:04:05.000Z"), "hookline"})
	if err != nil {
		return err
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, w.secret)
	mac.Write([]byte(found.ID + "." + stamp + "."))
	mac.Write(content)
	request, err := http.NewRequest(http.MethodPost, w.url, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer token-of-a-bench")
	request.Header.Set("webhook-id", found.ID)
	request.Header.Set("webhook-timestamp", stamp)
	request.Header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	response, err := w.client.Do(request)
	if err != nil {
		return err
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return nil
}

func main() {
	inFlight := must(strconv.Atoi(os.Getenv("IN_FLIGHT")))
	transport := &http.Transport{MaxIdleConns: inFlight, MaxIdleConnsPerHost: inFlight, MaxConnsPerHost: inFlight}
	w := &worker{
		client: &http.Client{Transport: transport, Timeout: 10 * time.Second},
		url:    os.Getenv("URL") + "/v1/contacts",
		secret: must(base64.StdEncoding.DecodeString(os.Getenv("SECRET"))),
		schema: must(avro.Parse(os.Getenv("SCHEMA"))),
	}
	kafka := must(kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("BOOTSTRAP")), kgo.ConsumerGroup(os.Getenv("GROUP")),
		kgo.ConsumeTopics(os.Getenv("TOPIC")), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	))
	work := make(chan []byte, inFlight)
	for range inFlight {
		go func() {
			for value := range work {
				if err := w.handle(value); err != nil {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		}()
	}
	for {
		fetches := kafka.PollFetches(context.Background())
		fetches.EachRecord(func(record *kgo.Record) { work <- record.Value })
	}
}
