package git

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/buildit-dev/buildit/internal/problem"
)

// The limits of names, in bytes.
const (
	maxRefName = 512
	maxURL     = 2048
)

// Ref is the full name of a ref, valid by git's own rules: refs/heads/main.
type Ref string

// The folders of refs that we look at.
const (
	Heads  = "refs/heads/"
	Tags   = "refs/tags/"
	Pulls  = "refs/pull/"           // GitHub: refs/pull/<number>/head
	Merges = "refs/merge-requests/" // GitLab: refs/merge-requests/<number>/head
)

// ParseRef takes a full ref name.
//
// Source: git-check-ref-format(1).
func ParseRef(name string) (Ref, error) {
	if fault := refFault(name); fault != "" {
		return "", problem.New(problem.Invalid, "%q is no name of a branch or tag: %s.", clip(name), fault)
	}
	return Ref(name), nil
}

func refFault(name string) string {
	switch {
	case !strings.HasPrefix(name, "refs/"):
		return "a full name begins with refs/"
	case len(name) > maxRefName:
		return fmt.Sprintf("it has more than %d bytes", maxRefName)
	case strings.HasSuffix(name, "."):
		return "it ends with a dot"
	case strings.Contains(name, ".."), strings.Contains(name, "@{"):
		return "it holds .. or @{"
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c == 0x7f || strings.IndexByte(`~^:?*[\`, c) >= 0 {
			return fmt.Sprintf("it holds the character %q", c)
		}
	}
	parts := strings.Split(name, "/")
	if len(parts) < 3 {
		return "a full name has three parts"
	}
	for _, part := range parts {
		switch {
		case part == "":
			return "it has an empty part"
		case part[0] == '.', strings.HasSuffix(part, ".lock"):
			return "a part begins with a dot or ends with .lock"
		case part[0] == '-':
			return "a part begins with a dash"
		}
	}
	return ""
}

// Branch is the short name of a branch, "" for another ref.
func (r Ref) Branch() string { return under(r, Heads) }

// Tag is the short name of a tag, "" for another ref.
func (r Ref) Tag() string { return under(r, Tags) }

func under(r Ref, folder string) string {
	name, ok := strings.CutPrefix(string(r), folder)
	if !ok {
		return ""
	}
	return name
}

// PullRequest is the number of a pull or merge request's head, 0 for another ref.
func (r Ref) PullRequest() int {
	for _, folder := range []string{Pulls, Merges} {
		var n int
		if rest := under(r, folder); rest != "" {
			if _, err := fmt.Sscanf(rest, "%d/head", &n); err == nil && rest == fmt.Sprintf("%d/head", n) && n > 0 {
				return n
			}
		}
	}
	return 0
}

// CommitSHA is a commit's id: 40 lower-case hex digits.
type CommitSHA string

// ParseCommit takes a commit's full id.
func ParseCommit(text string) (CommitSHA, error) {
	if len(text) == 64 && strings.Trim(text, "0123456789abcdef") == "" {
		return "", problem.New(problem.Invalid, "%s is an id of a SHA-256 repository, which is not supported yet.", text)
	}
	if len(text) != 40 || strings.Trim(text, "0123456789abcdef") != "" {
		return "", problem.New(problem.Invalid, "%q is no commit: give all 40 digits of its id.", clip(text))
	}
	return CommitSHA(text), nil
}

// Short is how people write it.
func (c CommitSHA) Short() string { return string(c)[:min(12, len(c))] }

// RepoURL is where a repository is cloned from: http(s) or file, without a
// credential, in one spelling.
type RepoURL string

// ParseURL takes a clone URL and says what to give instead where it takes none.
func ParseURL(text string) (RepoURL, error) {
	if len(text) > maxURL || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return "", badURL("The URL of a repository has no blanks, backslashes or control characters, and at most %d bytes.", maxURL)
	}
	if scpLike(text) {
		return "", badURL("ssh is not supported yet: give the repository's https URL, and a token if it is private.")
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", badURL("%q is no URL. Give one like https://github.com/owner/name.git.", clip(text))
	}
	switch u.Scheme {
	case "ssh", "git+ssh":
		return "", badURL("ssh is not supported yet: give the repository's https URL, and a token if it is private.")
	case "http", "https":
		return remoteURL(u)
	case "file":
		return localURL(u)
	}
	return "", badURL("A repository is cloned from an https, http or file URL; this one begins with %q.", clip(u.Scheme))
}

func badURL(format string, args ...any) error {
	return problem.New(problem.Invalid, format, args...).InField("url")
}

// scpLike knows git's short form user@host:path.
func scpLike(text string) bool {
	host, _, found := strings.Cut(text, ":")
	return found && !strings.Contains(text, "://") && !strings.Contains(host, "/")
}

func remoteURL(u *url.URL) (RepoURL, error) {
	clean := path.Clean("/" + u.Path)
	switch {
	case u.User != nil:
		return "", badURL("Leave user and password out of the URL: a token goes into the field token, where it is encrypted.")
	case u.Hostname() == "" || u.Opaque != "":
		return "", badURL("The URL names no host.")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", badURL("The URL of a repository has no ? and no #.")
	case clean == "/" || strings.HasPrefix(u.Hostname(), "-") || strings.Contains(clean, "/-"):
		return "", badURL("%q names no repository.", clip(u.Path))
	}
	return RepoURL((&url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: clean}).String()), nil
}

func localURL(u *url.URL) (RepoURL, error) {
	clean := path.Clean(u.Path)
	if u.Host != "" && u.Host != "localhost" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", badURL("A file URL has three slashes and a path: file:///srv/git/shop.git.")
	}
	if !path.IsAbs(clean) || clean == "/" {
		return "", badURL("A file URL names an absolute path: file:///srv/git/shop.git.")
	}
	return RepoURL((&url.URL{Scheme: "file", Path: clean}).String()), nil
}

// Local says whether it is a path of this machine.
func (r RepoURL) Local() bool { return strings.HasPrefix(string(r), "file:") }

// Host is the host's name, "" if it is local.
func (r RepoURL) Host() string {
	u, err := url.Parse(string(r))
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// FullName is the path without its first slash and .git: owner/name.
func (r RepoURL) FullName() string {
	u, err := url.Parse(string(r))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
}

func clip(text string) string {
	if len(text) > 80 {
		return text[:80] + "…"
	}
	return text
}
