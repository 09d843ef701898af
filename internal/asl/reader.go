package asl

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// itemReader says where a distributed Map finds its items: a JSON array, JSON
// lines or CSV in an object, or the list of the objects themselves.
//
// Source: Developer Guide, "ItemReader (Map)".
type itemReader struct {
	resource   string
	parameters *template
	inputType  string
	header     string // CSVHeaderLocation
	headers    []string
	delimiter  rune
	maxItems   bound
}

// maxReaderItems is the most that MaxItems may ask for.
const maxReaderItems = 100000000

var delimiters = map[string]rune{"COMMA": ',', "PIPE": '|', "SEMICOLON": ';', "SPACE": ' ', "TAB": '\t'}

func (p *parser) itemReader(v any, place string) *itemReader {
	i := &itemReader{delimiter: ','}
	o, ok := v.(map[string]any)
	if !ok {
		p.schema(place, "Expected value of type Object")
		return i
	}
	p.required(o, place, "Resource")
	i.resource = p.text(o, "Resource", place)
	i.parameters = p.template(o, "Parameters", place)
	config, _ := o["ReaderConfig"].(map[string]any)
	at := place + "/ReaderConfig"
	i.inputType = p.text(config, "InputType", at)
	i.header = p.text(config, "CSVHeaderLocation", at)
	if d := p.text(config, "CSVDelimiter", at); d != "" {
		if i.delimiter, ok = delimiters[d]; !ok {
			p.schema(at+"/CSVDelimiter", "Value is not valid")
		}
	}
	headers, _ := config["CSVHeaders"].([]any)
	for _, h := range headers {
		i.headers = append(i.headers, unquoted(h))
	}
	i.maxItems = p.bound(config, "MaxItems", at, maxReaderItems)
	return i
}

// check looks at what must be right before the state starts.
func (i *itemReader) check(see *sight) error {
	if see.env.Object == nil {
		return errors.New("an ItemReader needs an object store, and there is none")
	}
	return nil
}

// limit looks at MaxItems, which must be right before the run of the map starts.
func (i *itemReader) limit(see *sight, _ *Fan) error {
	_, err := i.maxItems.get(see, true)
	return err
}

func (i *itemReader) read(r *Run, see *sight) ([]any, error) {
	parameters := map[string]any{}
	if i.parameters != nil {
		v, err := i.parameters.eval(see)
		if err != nil {
			return nil, err
		}
		parameters, _ = v.(map[string]any)
	}
	body, err := r.env.Object(i.resource, parameters)
	if err != nil {
		return nil, err
	}
	items, err := i.parse(string(body))
	if err != nil {
		return nil, err
	}
	most, err := i.maxItems.get(see, true)
	if err != nil {
		return nil, err
	}
	if n := int(min(most, maxReaderItems)); n > 0 && n < len(items) {
		items = items[:n]
	}
	return items, nil
}

func (i *itemReader) parse(body string) ([]any, error) {
	switch i.inputType {
	case "CSV":
		return i.parseCSV(body)
	case "JSONL":
		items := []any{}
		for line := range strings.Lines(body) {
			if strings.TrimSpace(line) == "" {
				continue
			}
			v, err := Decode([]byte(line))
			if err != nil {
				return nil, fmt.Errorf("line %d of the object is no JSON: %w", len(items)+1, err)
			}
			items = append(items, v)
		}
		return items, nil
	case "JSON", "":
		v, err := Decode([]byte(body))
		if err != nil {
			return nil, fmt.Errorf("the object is no JSON: %w", err)
		}
		items, ok := v.([]any)
		if !ok {
			return nil, saying("Attempting to map over non-iterable node.")
		}
		return items, nil
	}
	return nil, fmt.Errorf("InputType %s is not read here", i.inputType)
}

func (i *itemReader) parseCSV(body string) ([]any, error) {
	lines := csv.NewReader(strings.NewReader(body))
	lines.Comma, lines.FieldsPerRecord, lines.LazyQuotes = i.delimiter, -1, true
	headers := i.headers
	if i.header == "FIRST_ROW" {
		first, err := lines.Read()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		headers = first
	}
	for n, h := range headers {
		if slices.Contains(headers[:n], h) {
			return nil, saying("CSV headers cannot contain duplicates.")
		}
	}
	items := []any{}
	for {
		line, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return items, nil
		}
		if err != nil {
			return nil, err
		}
		item := make(map[string]any, len(headers))
		for n, h := range headers {
			item[h] = ""
			if n < len(line) {
				item[h] = line[n]
			}
		}
		items = append(items, item)
	}
}
