package pipeline

import (
	"net/http"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/problem"
)

// reportRoutes show what the stages of a run have reported.
func (s *Service) reportRoutes(run access.Resource) []access.Route {
	const at = "GET /api/v1/orgs/{org}/runs/{run}"
	return []access.Route{
		{
			Pattern: at + "/tests", Action: access.RunRead, Resource: run, Handle: s.getTests, Out: access.Page[Test]{},
			Summary: "List the tests of a run: failed, then flaky, then the slowest",
			Query: access.WindowQuery(map[string]string{
				"status": "Only failed, flaky, succeeded or skipped ones.",
				"output": "true: with the end of what failed and flaky tests have printed.",
			}),
		},
		{
			Pattern: at + "/annotations", Action: access.RunRead, Resource: run, Handle: s.getAnnotations, Out: access.Page[Annotation]{},
			Summary: "List what the stages of a run say about lines of files",
		},
		{
			Pattern: at + "/summary", Action: access.RunRead, Resource: run, Handle: s.getSummary, Out: access.Page[Summary]{},
			Summary: "What the stages of a run have written for people (Markdown without HTML), their tests and coverage",
		},
	}
}

func (s *Service) getTests(r *http.Request, caller access.Caller) (any, error) {
	id, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	window, err := access.ParseWindow(r)
	if err != nil {
		return nil, err
	}
	query := r.URL.Query()
	output := query.Get("output")
	if output != "" && output != "true" && output != "false" {
		return nil, problem.New(problem.Invalid, "output is true or false, not %q.", output).InField("output")
	}
	which := TestSelection{Status: query.Get("status"), Output: output == "true"}
	list, next, err := s.Tests(r.Context(), caller.Org, id, which, window.Limit, window.Cursor)
	return access.NewPage(list, next), window.Error(err)
}

func (s *Service) getAnnotations(r *http.Request, caller access.Caller) (any, error) {
	id, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	list, err := s.Annotations(r.Context(), caller.Org, id)
	return access.NewPage(list, ""), err
}

func (s *Service) getSummary(r *http.Request, caller access.Caller) (any, error) {
	id, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	list, err := s.Summaries(r.Context(), caller.Org, id)
	return access.NewPage(list, ""), err
}
