package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/buildit-dev/buildit/internal/platform"
)

// errGrant says that the platform refuses an object.
var errGrant = errors.New("the platform grants no access")

// Lacks asks for grants to store the objects: what the store has needs none. The
// grants that come are kept for Upload.
func (c *Client) Lacks(ctx context.Context, objects []Object) ([]Object, error) {
	var lacks []Object
	for batch := range slices.Chunk(objects, MaxGrants) {
		grants, err := c.ask(ctx, http.MethodPut, batch...)
		if err != nil {
			return nil, err
		}
		for i, grant := range grants {
			switch {
			case grant.Refused != "":
				return nil, fmt.Errorf("%w to %s %s: %s", errGrant, batch[i].Kind, batch[i].Name, grant.Refused)
			case grant.Have:
				continue
			}
			lacks = append(lacks, batch[i])
			c.keep(batch[i], grant)
		}
	}
	return lacks, nil
}

func (c *Client) ask(ctx context.Context, method string, objects ...Object) ([]Grant, error) {
	var in GrantsRequest
	for _, object := range objects {
		in.Objects = append(in.Objects, GrantRequest{object, method})
	}
	var answer GrantsAnswer
	if err := c.call(ctx, PathGrants, in, &answer); err != nil {
		return nil, err
	}
	if len(answer.Grants) != len(objects) {
		return nil, fmt.Errorf("the platform answered %d grants for %d objects", len(answer.Grants), len(objects))
	}
	return answer.Grants, nil
}

func (c *Client) keep(object Object, grant Grant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grants[object.SHA256] = grant
}

// Wants asks for grants to read the objects, which are kept for Download: a store of
// many small files is read at the pace of its requests, and a grant for each of them
// would be a second one. What is refused or missing Download asks again.
func (c *Client) Wants(ctx context.Context, objects []Object) error {
	for batch := range slices.Chunk(objects, MaxGrants) {
		grants, err := c.ask(ctx, http.MethodGet, batch...)
		if err != nil {
			return err
		}
		for i, grant := range grants {
			if grant.Request != nil {
				c.keep(readOf(batch[i]), grant)
			}
		}
	}
	return nil
}

// readOf is an object as the key of a kept grant to read it.
func readOf(object Object) Object { return Object{SHA256: "GET " + object.Kind + " " + object.SHA256} }

// kept is a grant from Lacks or Wants that still has time.
func (c *Client) kept(object Object) (Grant, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	grant, ok := c.grants[object.SHA256]
	delete(c.grants, object.SHA256)
	ok = ok && grant.Request != nil && c.clock.Now().Before(grant.Request.Expires.Add(-callTimeout))
	return grant, ok
}

// Upload stores an object by a grant. One that is there is the same: its name is
// its digest, and a PUT never replaces.
func (c *Client) Upload(ctx context.Context, object Object, body io.ReadSeeker) error {
	retry := c.retry()
	for {
		grant, ok := c.kept(object)
		if !ok {
			grants, err := c.ask(ctx, http.MethodPut, object)
			if err != nil {
				return err
			}
			grant = grants[0]
		}
		switch {
		case grant.Have:
			return nil
		case grant.Refused != "" || grant.Request == nil:
			return fmt.Errorf("%w to %s %s: %s", errGrant, object.Kind, object.Name, grant.Refused)
		}
		again, err := c.put(ctx, grant.Request, object, body)
		if !again {
			return err
		}
		if pauseErr := retry.pause(ctx, 0); pauseErr != nil {
			return fmt.Errorf("the upload was given up: %w (last: %w)", pauseErr, err)
		}
	}
}

// put makes one try; again says that another may succeed.
func (c *Client) put(ctx context.Context, signed *platform.SignedRequest, object Object, body io.ReadSeeker) (again bool, err error) {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	r, err := http.NewRequestWithContext(ctx, signed.Method, signed.URL, io.NopCloser(io.LimitReader(body, object.Size)))
	if err != nil {
		return false, err
	}
	setHeader(r, signed)
	r.ContentLength = object.Size
	if object.Size == 0 {
		r.Body = http.NoBody
	}
	response, err := c.http.Do(r)
	if err != nil {
		return true, err
	}
	answer, readErr := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err := errors.Join(readErr, response.Body.Close()); err != nil {
		return true, err
	}
	switch status := response.StatusCode; {
	case status < 300, status == http.StatusPreconditionFailed, status == http.StatusConflict:
		return false, nil // stored, or stored before
	case status >= 500, status == http.StatusForbidden, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return true, fmt.Errorf("the store answered %d: %s", status, shorten(answer)) // 403: the grant may have expired
	default:
		return false, fmt.Errorf("the store answered %d: %s", status, shorten(answer))
	}
}

// Download reads an object by a grant. A connection that breaks on the way is taken
// up again where it broke.
func (c *Client) Download(ctx context.Context, object Object) (io.ReadCloser, error) {
	d := &download{c: c, ctx: ctx, object: object, retry: c.retry()}
	if err := d.open(); err != nil {
		return nil, err
	}
	return d, nil
}

type download struct {
	c      *Client
	ctx    context.Context // of the Download call, which Read serves
	object Object
	retry  *retry
	offset int64
	body   io.ReadCloser
}

// open asks for a grant and begins to read at the offset, until that works.
func (d *download) open() error {
	for {
		grant, kept := d.c.kept(readOf(d.object))
		if !kept {
			grants, err := d.c.ask(d.ctx, http.MethodGet, d.object)
			if err != nil {
				return err
			}
			grant = grants[0]
		}
		switch {
		case grant.Missing:
			return fmt.Errorf("%s %s: %w", d.object.Kind, d.object.Name, platform.ErrNotFound)
		case grant.Refused != "" || grant.Request == nil:
			return fmt.Errorf("%w to %s %s: %s", errGrant, d.object.Kind, d.object.Name, grant.Refused)
		default:
			again, err := d.get(grant.Request)
			if !again {
				return err
			}
			if pauseErr := d.retry.pause(d.ctx, 0); pauseErr != nil {
				return fmt.Errorf("the download was given up: %w (last: %w)", pauseErr, err)
			}
		}
	}
}

func (d *download) get(signed *platform.SignedRequest) (again bool, err error) {
	r, err := http.NewRequestWithContext(d.ctx, signed.Method, signed.URL, nil)
	if err != nil {
		return false, err
	}
	setHeader(r, signed)
	if d.offset > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
	}
	response, err := d.c.http.Do(r)
	if err != nil {
		return true, err
	}
	status := response.StatusCode
	switch {
	case status == http.StatusPartialContent || (status == http.StatusOK && d.offset == 0):
		d.body = response.Body
		return false, nil
	case status == http.StatusOK: // a store without ranges: pass over what we have
		if _, err := io.CopyN(io.Discard, response.Body, d.offset); err != nil {
			return true, errors.Join(err, response.Body.Close())
		}
		d.body = response.Body
		return false, nil
	}
	err = errors.Join(fmt.Errorf("the store answered %d", status), response.Body.Close())
	if status == http.StatusNotFound || status == http.StatusGone {
		return false, fmt.Errorf("%w: %w", platform.ErrNotFound, err)
	}
	return status >= 500 || status == http.StatusForbidden || status == http.StatusTooManyRequests, err
}

func (d *download) Read(p []byte) (int, error) {
	for {
		n, err := d.body.Read(p)
		d.offset += int64(n)
		whole := errors.Is(err, io.EOF) && d.offset >= d.object.Size
		switch {
		case err == nil || whole:
			return n, err
		case n > 0:
			d.body = broken{d.body} // the next Read opens it again
			return n, nil
		}
		if pauseErr := d.retry.pause(d.ctx, 0); pauseErr != nil {
			return 0, fmt.Errorf("the download was given up: %w (last: %w)", pauseErr, err)
		}
		if err := errors.Join(d.body.Close(), d.open()); err != nil {
			return 0, err
		}
	}
}

func (d *download) Close() error { return d.body.Close() }

// broken is a body that ended too early.
type broken struct{ io.ReadCloser }

func (broken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// setHeader takes over the header that was signed.
func setHeader(r *http.Request, signed *platform.SignedRequest) {
	for name, values := range signed.Header {
		r.Header[name] = values
	}
}
