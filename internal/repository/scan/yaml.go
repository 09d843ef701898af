package scan

import (
	"bytes"
	"slices"
	"strings"
)

// document is what the first lines of a YAML document say at its left margin.
// Nothing of it is parsed: anchors, tags and aliases mean nothing here.
type document struct {
	apiVersion, kind, typ string
	lists                 map[string][]string // resources, bases, components: their plain items
	template              bool                // a line begins with {{: text for a template engine
}

var listKeys = []string{"resources", "bases", "components"}

// documents reads the documents of a YAML file, as far as data goes.
func documents(data []byte) []document {
	if bytes.IndexByte(data, 0) >= 0 {
		return nil // no text
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	docs := []document{{}}
	list := ""
	for raw := range bytes.SplitSeq(data, []byte("\n")) {
		line := strings.TrimRight(string(raw), " \t\r")
		d := &docs[len(docs)-1]
		switch {
		case line == "---" || strings.HasPrefix(line, "--- "):
			docs, list = append(docs, document{}), ""
		case strings.HasPrefix(line, "{{"):
			d.template = true
		case line == "" || strings.HasPrefix(strings.TrimSpace(line), "#"):
		case list != "" && strings.HasPrefix(strings.TrimSpace(line), "- "):
			d.item(list, strings.TrimSpace(line)[2:])
		case line[0] != ' ' && line[0] != '\t' && line[0] != '-':
			list = d.field(line)
		}
	}
	return docs
}

// field takes a line at the left margin, and returns its name if a list follows.
func (d *document) field(line string) string {
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return ""
	}
	value = scalar(value)
	switch name {
	case "apiVersion":
		d.apiVersion = value
	case "kind":
		d.kind = value
	case "type":
		d.typ = value
	}
	if !slices.Contains(listKeys, name) {
		return ""
	}
	if inner, ok := strings.CutPrefix(value, "["); ok {
		for item := range strings.SplitSeq(strings.TrimSuffix(inner, "]"), ",") {
			d.item(name, item)
		}
		return ""
	}
	return name
}

func (d *document) item(list, value string) {
	if value = scalar(value); value == "" {
		return
	}
	if d.lists == nil {
		d.lists = map[string][]string{}
	}
	d.lists[list] = append(d.lists[list], value)
}

// scalar is a plain or quoted value without its comment.
func scalar(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > 1 && (text[0] == '"' || text[0] == '\'') {
		if i := strings.IndexByte(text[1:], text[0]); i >= 0 {
			return text[1 : 1+i]
		}
	}
	if i := strings.Index(text, " #"); i >= 0 {
		text = strings.TrimSpace(text[:i])
	}
	return text
}
