package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// sarifResult is a finding, as far as an annotation has room for it.
type sarifResult struct {
	RuleID  string `json:"ruleId"`
	Level   string `json:"level"`
	Message struct {
		Text string `json:"text"`
	} `json:"message"`
	Locations []struct {
		Physical struct {
			Artifact struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region struct {
				StartLine   int `json:"startLine"`
				StartColumn int `json:"startColumn"`
				EndLine     int `json:"endLine"`
			} `json:"region"`
		} `json:"physicalLocation"`
	} `json:"locations"`
	Suppressions []json.RawMessage `json:"suppressions"`
}

// readSARIF makes annotations of the results of every run.
func (r *Reader) readSARIF(in io.Reader) error {
	d := json.NewDecoder(in)
	found := false
	err := object(d, func(key string) error {
		if key != "runs" {
			return skip(d)
		}
		found = true
		return array(d, func() error {
			return object(d, func(key string) error {
				if key != "results" {
					return skip(d)
				}
				return array(d, func() error { return r.readResult(d) })
			})
		})
	})
	switch {
	case err != nil && limitOf(err) != nil:
		return limitOf(err)
	case err != nil:
		return fmt.Errorf("byte %d: it is no SARIF: %w", d.InputOffset(), err)
	case !found:
		return errors.New("it is no SARIF: it has no runs")
	}
	return nil
}

func (r *Reader) readResult(d *json.Decoder) error {
	var result sarifResult
	if err := d.Decode(&result); err != nil {
		return err
	}
	if len(result.Suppressions) > 0 || result.Level == "none" || len(result.Locations) == 0 || len(r.report.Annotations) >= MaxAnnotations {
		return nil
	}
	at := result.Locations[0].Physical
	level := map[string]string{"error": "error", "note": "notice"}[result.Level]
	a := Annotation{
		Level: firstOf(level, "warning"), File: at.Artifact.URI, Line: at.Region.StartLine, Column: at.Region.StartColumn,
		EndLine: at.Region.EndLine, Title: result.RuleID, Message: firstOf(result.Message.Text, result.RuleID),
	}
	if r.settle(&a) == nil {
		r.report.Annotations = append(r.report.Annotations, a)
	}
	return nil
}

// object calls take for each key of an object; take reads its value.
func object(d *json.Decoder, take func(key string) error) error {
	if err := delim(d, '{'); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		name, isText := key.(string)
		if !isText {
			return errors.New("a key is no text")
		}
		if err := take(name); err != nil {
			return err
		}
	}
	return delim(d, '}')
}

// array calls take at each element of an array; take reads it.
func array(d *json.Decoder, take func() error) error {
	if err := delim(d, '['); err != nil {
		return err
	}
	for d.More() {
		if err := take(); err != nil {
			return err
		}
	}
	return delim(d, ']')
}

func delim(d *json.Decoder, want json.Delim) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("%v stands where %v is expected", token, want)
	}
	return nil
}

// skip passes over a value, token by token, so that a large one takes no memory.
func skip(d *json.Decoder) error {
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > maxDepth {
				return fmt.Errorf("it is nested deeper than %d", maxDepth)
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
