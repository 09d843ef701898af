package draft

import (
	"cmp"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
)

// looks say what each kind of project is known by.
var looks = []struct {
	kind string
	at   func(s *scanner, dir string) *module
}{
	{"go", golang}, {"node", node}, {"python", python}, {"rust", rust}, {"java", java},
}

// first is the first group of the first match, "" without one.
func first(pattern *regexp.Regexp, text string) string {
	if m := pattern.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// artifactName tells the artifacts of several modules apart.
func artifactName(dir, root string) string {
	if dir == "." {
		return root
	}
	return slug(strings.ReplaceAll(dir, "/", "-"))
}

var goVersion = pattern.Late(`(?m)^go (\d+\.\d+)`)

func golang(s *scanner, dir string) *module {
	text := s.read(dir, "go.mod")
	if text == "" {
		return nil
	}
	version := cmp.Or(first(goVersion(), text), "1")
	s.found("go", dir, "go.mod", "a Go module, version %s", version)
	m := &module{image: "golang:" + version, test: []*kdl.Node{run("go vet ./...")}}
	if s.has(dir, "go.sum") != "" {
		m.cache = cacheNode("go", "**/go.sum", "~/.cache/go-build", "~/go/pkg/mod")
	}
	if hasReport("gotest") {
		m.test = append(m.test, run("go test -json ./... > report.json"), report("gotest", path.Join(dir, "report.json")))
	} else {
		m.test = append(m.test, run("go test ./..."))
	}
	if s.programs(dir) {
		m.build = []*kdl.Node{run("go build -o dist/ ./..."), artifact(artifactName(dir, "bin"), path.Join(dir, "dist/**"))}
	}
	return m
}

var mainPackage = pattern.Late(`(?m)^package main\b`)

// programs tells whether a Go module has a main package.
func (s *scanner) programs(dir string) bool {
	for _, d := range s.dirs {
		if d != dir && dir != "." && !strings.HasPrefix(d, dir+"/") || d != dir && s.within(d, dir, "go.mod") {
			continue
		}
		for _, name := range s.files[d] {
			if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && mainPackage().MatchString(s.read(d, name)) {
				return true
			}
		}
	}
	return false
}

// within tells whether a folder lies in a module of its own below dir.
func (s *scanner) within(at, dir, file string) bool {
	for ; at != dir && at != "."; at = path.Dir(at) {
		if s.has(at, file) != "" {
			return true
		}
	}
	return false
}

// manifest is what of package.json matters.
type manifest struct {
	Scripts      map[string]string `json:"scripts"`
	Engines      map[string]string `json:"engines"`
	Workspaces   any               `json:"workspaces"`
	Dependencies map[string]string `json:"dependencies"`
	Dev          map[string]string `json:"devDependencies"`
}

// manager is a package manager of Node.
type manager struct {
	lock, name string
	setup      []string
	cache      []any
}

var managers = []manager{
	{"pnpm-lock.yaml", "pnpm", []string{"corepack enable", "pnpm install --frozen-lockfile"}, []any{"~/.local/share/pnpm/store"}},
	{"yarn.lock", "yarn", []string{"yarn install --frozen-lockfile"}, []any{"~/.cache/yarn"}},
	{"package-lock.json", "npm", []string{"npm ci"}, []any{"~/.npm"}},
	{"npm-shrinkwrap.json", "npm", []string{"npm ci"}, []any{"~/.npm"}},
	{"", "npm", []string{"npm install"}, nil},
}

func node(s *scanner, dir string) *module {
	var p manifest
	if json.Unmarshal([]byte(s.read(dir, "package.json")), &p) != nil {
		return nil
	}
	i := slices.IndexFunc(managers, func(m manager) bool { return m.lock == "" || s.has(dir, m.lock) != "" })
	with := managers[i]
	if with.name == "yarn" && s.has(dir, ".yarnrc.yml") != "" {
		with.setup, with.cache = []string{"corepack enable", "yarn install --immutable"}, []any{"~/.yarn/berry/cache"}
	}
	many := p.Workspaces != nil || s.has(dir, "pnpm-workspace.yaml") != ""
	version := s.nodeVersion(dir, p)
	what := "a package"
	if many {
		what = "a workspace of packages"
	}
	s.found("node", dir, "package.json", "%s for %s, Node %s", what, with.name, version)
	m := &module{image: "node:" + version, setup: with.setup, many: many}
	if with.lock != "" {
		m.cache = cacheNode(with.name, "**/"+with.lock, with.cache...)
	}
	m.nodeStages(dir, p, with.name)
	if len(m.test)+len(m.build) == 0 {
		return nil
	}
	return m
}

func (m *module) nodeStages(dir string, p manifest, manager string) {
	each := ""
	if m.many {
		each = map[string]string{"npm": " --workspaces --if-present", "pnpm": " -r --if-present", "yarn": ""}[manager]
	}
	script := func(name string) string {
		if each != "" && p.Scripts[name] == "" {
			if manager == "pnpm" {
				return "pnpm -r --if-present run " + name
			}
			return manager + " run " + name + each
		}
		return manager + " run " + name
	}
	if p.Scripts["lint"] != "" {
		m.test = append(m.test, run(script("lint")))
	}
	switch test := p.Scripts["test"]; {
	case strings.Contains(test, "no test specified") || test == "" && each == "":
	case strings.HasPrefix(test, "vitest") && p.Dev["vitest"] != "":
		m.test = append(m.test, run("npx vitest run --reporter=default --reporter=junit --outputFile=junit.xml"), report("junit", path.Join(dir, "junit.xml")))
	case strings.HasPrefix(test, "node --test") && !strings.Contains(test, "&&"):
		m.test = append(m.test, run(test+" --test-reporter=spec --test-reporter-destination=stdout --test-reporter=junit --test-reporter-destination=junit.xml"), report("junit", path.Join(dir, "junit.xml")))
	default:
		m.test = append(m.test, run(script("test")))
	}
	if p.Scripts["build"] == "" && each == "" {
		return
	}
	out := "dist/**"
	switch {
	case p.Dependencies["next"] != "":
		out = ".next/**"
	case p.Dependencies["react-scripts"] != "":
		out = "build/**"
	case m.many:
		out = "**/dist/**"
	}
	made := artifact(artifactName(dir, "dist"), path.Join(dir, out)).With("optional", true)
	if m.many {
		made.Add(kdl.New("exclude", "**/node_modules/**"))
	}
	m.build = append(m.build, run(script("build")), made)
}

var digits = pattern.Late(`(\d+(?:\.\d+)*)`)

func (s *scanner) nodeVersion(dir string, p manifest) string {
	for _, at := range []string{dir, "."} {
		text := strings.TrimSpace(cmp.Or(s.read(at, ".nvmrc"), s.read(at, ".node-version")))
		if name, ok := strings.CutPrefix(text, "lts/"); ok && name != "*" {
			return strings.ToLower(slug(name))
		}
		if v := first(digits(), text); v != "" {
			return v
		}
	}
	if engine := p.Engines["node"]; engine != "" {
		if v := first(digits(), engine); v != "" {
			major, _, _ := strings.Cut(v, ".")
			return major
		}
	}
	return "lts"
}

var (
	requiresPython = pattern.Late(`(?m)^(?:requires-python|python)\s*=\s*["'][^0-9"']*(\d+\.\d+)`)
	onlyVersion    = pattern.Late(`^\s*(\d+(?:\.\d+)?)`)
)

func python(s *scanner, dir string) *module {
	project := s.read(dir, "pyproject.toml")
	known := s.has(dir, "pyproject.toml", "requirements.txt", "setup.py")
	if known == "" || project != "" && !strings.Contains(project, "[project]") && !strings.Contains(project, "[tool.poetry]") && s.has(dir, "requirements.txt", "setup.py") == "" {
		return nil
	}
	version := cmp.Or(first(onlyVersion(), s.read(dir, ".python-version")), first(requiresPython(), project), "3")
	m := &module{image: "python:" + version, many: strings.Contains(project, "[tool.uv.workspace]")}
	bin, tool, build := ".venv/bin/python -m ", "pip", ".venv/bin/pip wheel --no-deps -w dist ."
	switch {
	case s.has(dir, "uv.lock") != "":
		tool, bin, build = "uv", "uv run ", "uv build"
		m.image = "ghcr.io/astral-sh/uv:python" + version + "-bookworm"
		m.setup = []string{"uv sync --frozen"}
		m.cache = cacheNode("uv", "**/uv.lock", "~/.cache/uv")
	case s.has(dir, "poetry.lock") != "" || strings.Contains(project, "[tool.poetry]"):
		tool, bin, build = "poetry", ".poetry/bin/poetry run ", ".poetry/bin/poetry build"
		m.setup = []string{"python3 -m venv .poetry && .poetry/bin/pip install poetry", ".poetry/bin/poetry install"}
		m.cache = cacheNode("poetry", "**/poetry.lock", "~/.cache/pypoetry", "~/.cache/pip")
	default:
		m.setup = []string{"python3 -m venv .venv", ".venv/bin/pip install " + s.pipArguments(dir)}
		if lock := s.has(dir, "requirements.txt", "pyproject.toml"); lock != "" {
			m.cache = cacheNode("pip", "**/"+lock, "~/.cache/pip")
		}
	}
	s.found("python", dir, known, "a Python project for %s, version %s", tool, version)
	if s.pytest(dir, project) {
		m.test = []*kdl.Node{run(bin + "pytest --junitxml=report.xml"), report("junit", path.Join(dir, "report.xml"))}
	} else if tool == "pip" {
		m.test = []*kdl.Node{run(bin + "unittest discover")}
	} else {
		m.test = []*kdl.Node{run(bin + "python -m unittest discover")}
	}
	if strings.Contains(project, "[build-system]") {
		m.build = []*kdl.Node{run(build), artifact(artifactName(dir, "wheel"), path.Join(dir, "dist/*.whl"))}
	}
	return m
}

// pipArguments are what pip installs: requirements, else the project itself.
func (s *scanner) pipArguments(dir string) string {
	var args []string
	for _, name := range []string{"requirements.txt", "requirements-dev.txt", "dev-requirements.txt", "requirements-test.txt"} {
		if s.has(dir, name) != "" {
			args = append(args, "-r "+name)
		}
	}
	if len(args) == 0 || s.has(dir, "setup.py") != "" {
		args = append(args, ".")
	}
	return strings.Join(args, " ")
}

// pytest tells whether the tests are pytest's.
func (s *scanner) pytest(dir, project string) bool {
	if s.has(dir, "pytest.ini", "conftest.py") != "" || strings.Contains(project, "pytest") {
		return true
	}
	return slices.ContainsFunc(s.files[dir], func(name string) bool {
		return strings.HasSuffix(name, ".txt") && strings.Contains(name, "requirements") && strings.Contains(s.read(dir, name), "pytest") ||
			name == "tox.ini" && strings.Contains(s.read(dir, name), "pytest")
	}) || s.has(path.Join(dir, "tests"), "conftest.py") != ""
}

var (
	rustChannel = pattern.Late(`(?m)^(?:\s*channel\s*=\s*")?(\d+\.\d+(?:\.\d+)?)`)
	rustVersion = pattern.Late(`(?m)^rust-version\s*=\s*"(\d+\.\d+)`)
	crateName   = pattern.Late(`(?m)^name\s*=\s*"([A-Za-z0-9_-]+)"`)
)

func rust(s *scanner, dir string) *module {
	text := s.read(dir, "Cargo.toml")
	if text == "" {
		return nil
	}
	version := cmp.Or(first(rustChannel(), s.read(dir, "rust-toolchain.toml")), first(rustChannel(), s.read(dir, "rust-toolchain")), first(rustVersion(), text), "1")
	m := &module{image: "rust:" + version, many: strings.Contains(text, "[workspace]")}
	locked := ""
	if s.has(dir, "Cargo.lock") != "" {
		locked = " --locked"
		m.cache = cacheNode("cargo", "**/Cargo.lock", "~/.cargo/registry", path.Join(dir, "target"))
	}
	what := "a crate"
	if m.many {
		what = "a workspace of crates"
	}
	s.found("rust", dir, "Cargo.toml", "%s, Rust %s", what, version)
	m.test = []*kdl.Node{run("cargo test" + locked)}
	var programs []string
	for _, at := range s.dirs {
		inside := at == dir || m.many && (dir == "." || strings.HasPrefix(at, dir+"/"))
		if name := first(crateName(), s.read(at, "Cargo.toml")); inside && name != "" && s.has(path.Join(at, "src"), "main.rs") != "" {
			programs = append(programs, path.Join(dir, "target/release", name))
		}
	}
	if len(programs) > 0 {
		m.build = []*kdl.Node{run("cargo build --release" + locked), artifact(artifactName(dir, "bin"), programs...)}
	}
	return m
}

var (
	mavenVersion  = pattern.Late(`<(?:maven\.compiler\.release|java\.version|maven\.compiler\.source|release)>\s*(\d+)`)
	gradleVersion = pattern.Late(`(?:JavaLanguageVersion\.of\(|jvmToolchain\(|VERSION_|sourceCompatibility\s*=\s*['"]?)(\d+)`)
)

func java(s *scanner, dir string) *module {
	if pom := s.read(dir, "pom.xml"); pom != "" {
		return s.maven(dir, pom)
	}
	build := s.has(dir, "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts")
	if build == "" {
		return nil
	}
	version := cmp.Or(first(onlyVersion(), s.read(dir, ".java-version")), first(gradleVersion(), s.read(dir, s.has(dir, "build.gradle", "build.gradle.kts"))), "21")
	m := &module{image: "gradle:8-jdk" + version, many: s.has(dir, "settings.gradle", "settings.gradle.kts") != ""}
	command := "gradle"
	if s.has(dir, "gradlew") != "" {
		command, m.image = "./gradlew", "eclipse-temurin:"+version
	}
	s.found("java", dir, build, "a Gradle project for %s, Java %s", command, version)
	m.cache = cacheNode("gradle", "**/*.gradle*,**/gradle-wrapper.properties", "~/.gradle/caches", "~/.gradle/wrapper")
	m.test = []*kdl.Node{run(command + " check"), report("junit", path.Join(dir, "**/build/test-results/test/*.xml"))}
	m.build = []*kdl.Node{run(command + " assemble"), artifact(artifactName(dir, "jar"), path.Join(dir, "**/build/libs/*.jar"))}
	return m
}

func (s *scanner) maven(dir, pom string) *module {
	version := cmp.Or(first(onlyVersion(), s.read(dir, ".java-version")), first(mavenVersion(), pom), "21")
	m := &module{image: "maven:3-eclipse-temurin-" + version, many: strings.Contains(pom, "<modules>")}
	command := "mvn"
	if s.has(dir, "mvnw") != "" {
		command, m.image = "./mvnw", "eclipse-temurin:"+version
	}
	s.found("java", dir, "pom.xml", "a Maven project for %s, Java %s", command, version)
	m.cache = cacheNode("maven", "**/pom.xml", "~/.m2/repository")
	m.test = []*kdl.Node{run(command + " -B verify"), report("junit", path.Join(dir, "**/target/surefire-reports/*.xml"))}
	m.build = []*kdl.Node{run(command + " -B package -DskipTests"), artifact(artifactName(dir, "jar"), path.Join(dir, "**/target/*.jar"))}
	return m
}
