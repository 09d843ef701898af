package main

import (
	"context"
	"strings"
	"time"
)

// webhook is what the provider must be told.
type webhook struct {
	Path   string   `json:"path"`
	Secret string   `json:"secret"`
	Events []string `json:"events"`
}

// hookHealth is how a webhook is doing.
type hookHealth struct {
	LastDelivery time.Time `json:"last_delivery"`
	LastEvent    string    `json:"last_event"`
	LastFailure  time.Time `json:"last_failure"`
	Failure      string    `json:"failure"`
	Reason       string    `json:"reason"`
	Banner       string    `json:"banner"`
	Repaired     time.Time `json:"repaired"`
	Repair       string    `json:"repair"`
}

// delivery is what the CLI prints of one.
type delivery struct {
	ID       string    `json:"id"`
	Event    string    `json:"event"`
	Status   string    `json:"status"`
	Received time.Time `json:"received"`
	Runs     []string  `json:"runs"`
	Note     string    `json:"note"`
}

func (c *call) printWebhook(w webhook) error {
	err := c.say("\nTo hear of pushes at once, add this webhook at the provider (the secret is shown only now):\n"+
		"  address  %s\n  secret   %s", c.server+w.Path, w.Secret)
	if err == nil && len(w.Events) > 0 {
		err = c.say("  content  application/json\n  events   %s", strings.Join(w.Events, ", "))
	}
	if err == nil {
		err = c.say("Without it BuildIt looks at the repository from time to time.")
	}
	return err
}

func (c *call) printHealth(h hookHealth, now time.Time) error {
	err := c.say("webhook         %s", "no delivery yet")
	if !h.LastDelivery.IsZero() {
		err = c.say("webhook         last delivery %s (%s)", ago(h.LastDelivery, now), clean(h.LastEvent, 40))
	}
	if err == nil && !h.LastFailure.IsZero() {
		err = c.say("webhook failed  %s: %s", ago(h.LastFailure, now), clean(h.Failure, 500))
	}
	if err == nil && h.Repair != "" {
		err = c.say("webhook set up  %s: %s", ago(h.Repaired, now), clean(h.Repair, 300))
	}
	if err == nil && h.Reason != "" {
		err = c.say("webhook health  %s: %s", clean(h.Reason, 40), clean(h.Banner, 700))
	}
	return err
}

func repoDeliveries(o *options) func(context.Context, *call) error {
	limit := o.flags.Int("limit", defaultRuns, "")
	return func(ctx context.Context, c *call) error {
		found, err := findRepository(ctx, c, c.words[0])
		if err != nil {
			return err
		}
		list := []raw[delivery]{}
		err = eachPage(ctx, c, repositoryPath(found.value.ID, "/deliveries"), nil, func(d raw[delivery]) bool {
			list = append(list, d)
			return len(list) < *limit
		})
		if err != nil || c.json {
			return orJSON(c, err, list)
		}
		if len(list) == 0 {
			return c.say("no delivery yet; `buildit repo sync %s` looks at the repository at once", found.value.Name)
		}
		now := time.Now()
		var rows [][]string
		for _, item := range list {
			d := item.value
			rows = append(rows, []string{
				clean(d.ID, 40), clean(d.Event, 30), d.Status, ago(d.Received, now),
				clean(strings.TrimSpace(strings.Join(d.Runs, " ")+" "+d.Note), 200),
			})
		}
		return c.columns([]string{"DELIVERY", "EVENT", "STATUS", "", "RUNS AND NOTES"}, rows)
	}
}

func repoNewSecret(o *options) func(context.Context, *call) error {
	in := map[string]string{}
	o.flags.Func("secret-env", "", func(variable string) (err error) {
		in["webhook_secret"], err = o.variable(variable)
		return err
	})
	return func(ctx context.Context, c *call) error {
		found, err := findRepository(ctx, c, c.words[0])
		if err != nil {
			return err
		}
		var answer raw[webhook]
		if err := c.post(ctx, repositoryPath(found.value.ID, "/webhook-secret"), in, &answer); err != nil || c.json {
			return orJSON(c, err, answer)
		}
		if err := c.say("the old secret of %s holds for another day", found.value.Name); err != nil {
			return err
		}
		return c.printWebhook(answer.value)
	}
}
