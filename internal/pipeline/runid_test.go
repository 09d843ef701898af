package pipeline

import "testing"

func TestRunID(t *testing.T) {
	t.Parallel()
	push := Trigger{Repository: "r1", File: ".buildit.kdl", Event: "push", Subject: "main", Commit: "c0ffee", Generation: 1}
	id := NewRunID(push)
	if _, err := ParseRunID(string(id)); err != nil {
		t.Fatal(err)
	}
	if first := push; NewRunID(first) != id {
		t.Error("one trigger makes two ids")
	}
	one := push
	one.Attempt = 1
	if NewRunID(one) != id {
		t.Error("attempt 0 is the first attempt")
	}
	for name, change := range map[string]func(*Trigger){
		"branch that came back": func(t *Trigger) { t.Generation = 3 },
		"RerunHasItsOwnId":      func(t *Trigger) { t.Attempt = 2 },
		"other file":            func(t *Trigger) { t.File = "a/.buildit.kdl" },
		"shifted bytes":         func(t *Trigger) { t.Event, t.Subject = "pushm", "ain" },
	} {
		t.Run(name, func(t *testing.T) {
			other := push
			change(&other)
			if NewRunID(other) == id {
				t.Error("same id for another run")
			}
		})
	}
}

func FuzzParseRunID(f *testing.F) {
	f.Add(string(NewRunID(Trigger{})))
	f.Add("../../etc/passwd/aaaaaaaaaa")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseRunID(s)
		if err == nil && (string(id) != s || len(id) != 26) {
			t.Errorf("%q was taken as %q", s, id)
		}
	})
}
