package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Deliveries of the measurement.
const (
	deliveries = 500
	within     = 10 * time.Second // for all of them
	duplicates = 10_000
	senders    = 4               // of duplicates, side by side
	patience   = 3 * time.Minute // until all has been worked on
)

// webhooks measures how fast deliveries are answered, and counts what became of
// each. The server is killed in the middle and started again.
func webhooks(ctx context.Context, b *bench) (rows []row, err error) {
	p, err := startPlatform(ctx, b, "webhooks")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	var hooks []*hook
	for _, provider := range providers {
		h, err := p.connectHook(ctx, provider)
		if err != nil {
			return nil, err
		}
		hooks = append(hooks, h)
	}
	many, err := p.manyDeliveries(ctx, hooks)
	if err != nil {
		return nil, err
	}
	same, err := p.manyDuplicates(ctx, hooks[0])
	return append(many, same...), err
}

// manyDeliveries sends pushes of as many branches, evenly over time. A delivery that
// meets the restart is not answered, and is sent again, as a provider would.
func (p *platform) manyDeliveries(ctx context.Context, hooks []*hook) ([]row, error) {
	var took []time.Duration
	repeated := 0
	begin := time.Now()
	for i := range deliveries {
		time.Sleep(time.Until(begin.Add(within * time.Duration(i) / deliveries)))
		if i == deliveries/2 {
			if err := p.restart(ctx); err != nil {
				return nil, err
			}
			begin = time.Now().Add(-within / 2)
		}
		h, id, branch := hooks[i%len(hooks)], fmt.Sprintf("delivery-%d", i), fmt.Sprintf("b%d", i)
		if err := h.branch(branch); err != nil {
			return nil, err
		}
		status, d, err := h.deliver(ctx, p.url, id, branch)
		if err != nil {
			repeated++
			status, d, err = h.deliver(ctx, p.url, id, branch)
		}
		if err != nil || status != http.StatusAccepted {
			return nil, errors.Join(err, fmt.Errorf("delivery %d of %s was answered %d", i, h.provider, status))
		}
		took = append(took, d)
	}
	fates, err := p.fates(ctx, hooks)
	if err != nil {
		return nil, err
	}
	return []row{
		{
			"webhook answered", fmt.Sprintf("%.1f ms p99", ms(percentile(took, 99))), "50 ms p99",
			fmt.Sprintf("p50 %.1f ms; %d deliveries of %d providers, %d/s, their runs beside them", ms(median(took)), deliveries, len(hooks), deliveries/int(within.Seconds())),
		},
		{
			"deliveries lost, of 500", fmt.Sprint(deliveries - fates.runs - fates.notes), "0",
			fmt.Sprintf("%d made runs, %d a note; server killed in the middle, %d sent again; all worked on %.1f s after the last", fates.runs, fates.notes, repeated, fates.after.Seconds()),
		},
	}, nil
}

// fate is what became of deliveries.
type fate struct {
	runs, notes int
	after       time.Duration // until the last was worked on
}

// delivery is what figures read of one.
type delivery struct {
	ID, Status, Note string
	Runs             []string
}

// fates waits until all deliveries were worked on.
func (p *platform) fates(ctx context.Context, hooks []*hook) (fate, error) {
	begin := time.Now()
	for {
		var f fate
		for _, h := range hooks {
			list, err := p.deliveriesOf(ctx, h)
			if err != nil {
				return f, err
			}
			for _, d := range list {
				switch {
				case len(d.Runs) > 0:
					f.runs++
				case d.Status != "received" && d.Note != "":
					f.notes++
				}
			}
		}
		f.after = time.Since(begin)
		if f.runs+f.notes >= deliveries || f.after > patience {
			return f, nil
		}
		select {
		case <-ctx.Done():
			return f, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// deliveriesOf lists the deliveries of a repository, page by page.
func (p *platform) deliveriesOf(ctx context.Context, h *hook) (all []delivery, err error) {
	for cursor := ""; ; {
		var page struct {
			Items []delivery
			Next  string
		}
		err := p.call(ctx, http.MethodGet, "/repositories/"+h.repository+"/deliveries?limit=100&cursor="+url.QueryEscape(cursor), nil, &page)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			return all, nil
		}
	}
}

// manyDuplicates sends one delivery again and again. What is over the rate of one
// address is told to come later, and comes.
func (p *platform) manyDuplicates(ctx context.Context, h *hook) ([]row, error) {
	const id, branch = "the-same", "again"
	if err := h.branch(branch); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var took []time.Duration
	var failures []error
	later := 0
	work := make(chan struct{})
	var group sync.WaitGroup
	for range senders {
		group.Go(func() {
			for range work {
				status, d, err := h.deliver(ctx, p.url, id, branch)
				for ; err == nil && status == http.StatusTooManyRequests; status, d, err = h.deliver(ctx, p.url, id, branch) {
					mu.Lock()
					later++
					mu.Unlock()
					time.Sleep(50 * time.Millisecond)
				}
				if err == nil && status >= 300 {
					err = fmt.Errorf("a duplicate was answered %d", status)
				}
				mu.Lock()
				took, failures = append(took, d), append(failures, err)
				mu.Unlock()
			}
		})
	}
	begin := time.Now()
	for range duplicates {
		work <- struct{}{}
	}
	close(work)
	group.Wait()
	all := time.Since(begin)
	if err := errors.Join(failures...); err != nil {
		return nil, err
	}
	runs, err := p.runsOf(ctx, h, id)
	return []row{{
		"runs made by 10,000 duplicates", fmt.Sprint(len(runs)), "1",
		fmt.Sprintf("answered p50 %.1f, p99 %.1f ms; %d senders, %.0f s, %d told to come later", ms(median(took)), ms(percentile(took, 99)), senders, all.Seconds(), later),
	}}, err
}

// runsOf are the runs that a delivery has made, once it was worked on.
func (p *platform) runsOf(ctx context.Context, h *hook, id string) ([]string, error) {
	for deadline := time.Now().Add(patience); ; {
		list, err := p.deliveriesOf(ctx, h)
		if err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(d delivery) bool { return !strings.HasPrefix(d.ID, id) })
		if len(list) != 1 {
			return nil, fmt.Errorf("%d deliveries are kept of %s", len(list), id)
		}
		if list[0].Status != "received" || time.Now().After(deadline) {
			return list[0].Runs, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
