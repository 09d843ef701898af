package main

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
)

// raw is a value of the server, as the part that we print and, for --json, as all
// that it was.
type raw[T any] struct {
	value T
	text  json.RawMessage
}

// UnmarshalJSON keeps both.
func (r *raw[T]) UnmarshalJSON(text []byte) error {
	r.text = append(json.RawMessage(nil), text...)
	return json.Unmarshal(text, &r.value)
}

// MarshalJSON is the value as it came.
func (r raw[T]) MarshalJSON() ([]byte, error) { return r.text, nil }

// eachPage calls take for each item of a list until take says that it has enough.
func eachPage[T any](ctx context.Context, c *call, path string, query url.Values, take func(raw[T]) (more bool)) error {
	asked := maps.Clone(query)
	if asked == nil {
		asked = url.Values{}
	}
	for {
		var page struct {
			Items []raw[T] `json:"items"`
			Next  string   `json:"next"`
		}
		if err := c.get(ctx, path+"?"+asked.Encode(), &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			if !take(item) {
				return nil
			}
		}
		if page.Next == "" {
			return nil
		}
		asked.Set("cursor", page.Next)
	}
}
