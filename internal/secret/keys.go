package secret

import (
	"fmt"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// The rows of an organization's secrets share a partition:
//
//	secret  acme#secrets#  secret#<kind of scope>#<of>#<file>#<name>#
//	event   acme#secrets#  event#<kind of scope>#<of>#<file>#<name>#<version, 8 digits>#

func partition(org platform.Org) platform.Partition { return org.Partition("secrets") }

func row(org platform.Org, scope Scope, name string) platform.RowKey {
	return partition(org).Row("secret", append(scope.parts(), name)...)
}

// event is the record of a change, in its transaction.
func (s *Service) event(org platform.Org, of Secret, what, by string, at time.Time) platform.Put {
	parts := append(of.parts(), of.Name, fmt.Sprintf("%08d", of.Version))
	return platform.Put{Key: partition(org).Row("event", parts...), Item: platform.Item{
		"entity": platform.Text("secret"), "name": platform.Text(of.Name), "scope": platform.Text(strings.Join(of.parts(), " ")),
		"what": platform.Text(what), "by": platform.Text(by), "at": platform.Stamp(at),
		platform.ExpiresAttribute: platform.Int(at.Add(eventsKept).Unix()),
	}}
}

func (s Secret) item(at sealed) platform.Item {
	item := platform.Item{
		"name": platform.Text(s.Name), "repository": platform.Text(s.Repository), "pipeline": platform.Text(s.Pipeline),
		"environment": platform.Text(s.Environment), "set": platform.Stamp(s.Set), "by": platform.Text(s.By),
		"version": platform.Int(s.Version), "key": platform.Bytes(at.key), "box": platform.Bytes(at.box),
		"run": platform.Text(s.Run), "stage": platform.Text(s.Stage),
	}
	if !s.Used.IsZero() {
		item["used"] = platform.Stamp(s.Used)
	}
	return item
}

func secretOf(item platform.Item) Secret {
	return Secret{
		Name:  item.Text("name"),
		Scope: Scope{Repository: item.Text("repository"), Pipeline: item.Text("pipeline"), Environment: item.Text("environment")},
		Set:   item.Time("set"), By: item.Text("by"), Version: item.Int("version"),
		Used: item.Time("used"), Run: item.Text("run"), Stage: item.Text("stage"),
	}
}
