package access

import "strings"

// Operation is one route, for the CLI's help and the authorization matrix.
type Operation struct {
	Method   string `json:"method"`
	Path     string `json:"path"`
	Action   Action `json:"action"`
	Resource string `json:"resource"`
	Summary  string `json:"summary"`
}

// Operations lists the routes, in the order of their registration.
func (m *Mux) Operations() []Operation {
	operations := make([]Operation, 0, len(m.order))
	for _, pattern := range m.order {
		route := m.routes[pattern]
		method, path, _ := strings.Cut(pattern, " ")
		operations = append(operations, Operation{method, path, route.Action, route.Resource.String(), route.Summary})
	}
	return operations
}

// String is the resource as the authorization matrix shows it.
func (res Resource) String() string {
	switch res.kind {
	case inPath:
		return res.name
	case public:
		return "public: " + res.name
	}
	return string(res.kind)
}

// Proof is the credential that opens the route: token, job or ticket, or "" for
// everybody.
func (res Resource) Proof() string {
	switch res.kind {
	case public:
		return ""
	case runner, runnerRenews:
		return "job"
	case runnerHello:
		return "ticket"
	}
	return "token"
}
