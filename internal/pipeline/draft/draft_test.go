package draft

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/buildit-dev/buildit/internal/golden"
)

// trees are what init finds, each with the file it makes of it in testdata.
var trees = map[string]map[string]string{
	"go":        {"go.mod": "module a\n\ngo 1.25.1\n", "go.sum": "", "main.go": "package main\n"},
	"go-only":   {"go.mod": "module a\n", "a.go": "package a\n", "cmd_test.go": "package main\n"},
	"npm":       {"package.json": `{"scripts":{"test":"jest","lint":"eslint .","build":"vite build"},"engines":{"node":">=20"}}`, "package-lock.json": "{}", "node_modules/x/package.json": "{}"},
	"pnpm":      {"package.json": `{"scripts":{"test":"vitest run"},"devDependencies":{"vitest":"3"}}`, "pnpm-lock.yaml": "", ".nvmrc": "v22.3.0\n"},
	"yarn":      {"package.json": `{"workspaces":["packages/*"],"scripts":{"test":"node --test"}}`, "yarn.lock": "", "packages/a/package.json": `{"scripts":{"test":"x"}}`},
	"pip":       {"requirements.txt": "flask\n", "requirements-dev.txt": "pytest\n", ".python-version": "3.12.4\n", "Dockerfile": "FROM python\n"},
	"poetry":    {"pyproject.toml": "[tool.poetry]\nname = \"a\"\n[tool.poetry.dependencies]\npython = \"^3.11\"\npytest = \"*\"\n[build-system]\n", "poetry.lock": ""},
	"uv":        {"pyproject.toml": "[project]\nrequires-python = \">=3.13\"\n", "uv.lock": ""},
	"rust":      {"Cargo.toml": "[package]\nname = \"tool\"\n", "Cargo.lock": "", "src/main.rs": "", "rust-toolchain.toml": "[toolchain]\nchannel = \"1.85.0\"\n"},
	"maven":     {"pom.xml": "<project><properties><java.version>17</java.version></properties></project>", "mvnw": ""},
	"gradle":    {"build.gradle.kts": "kotlin { jvmToolchain(21) }", "settings.gradle.kts": "", "gradlew": "", "app/build.gradle.kts": ""},
	"monorepo":  {"services/api/go.mod": "module api\ngo 1.26\n", "services/api/main.go": "package main", "services/api/Dockerfile": "", "web/package.json": `{"scripts":{"build":"next build"},"dependencies":{"next":"15"}}`, "web/yarn.lock": "", "web/.yarnrc.yml": "", "tools/it's/go.mod": "module t\n", "jobs/api/requirements.txt": "x\n"},
	"same-root": {"go.mod": "module a\n", "package.json": `{"scripts":{"test":"jest"}}`},
	"docker":    {"Dockerfile": "FROM scratch\n"},
}

func TestDraft(t *testing.T) {
	for name, files := range trees {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for file, text := range files {
				fsys[file] = &fstest.MapFile{Data: []byte(text)}
			}
			text, findings, err := Draft(fsys, "my app")
			if err != nil || text == "" {
				t.Fatalf("%q, %v", text, err)
			}
			var out strings.Builder
			for _, f := range findings {
				fmt.Fprintf(&out, "%s %s: %s\n", f.Kind, f.Path, f.Reason)
			}
			golden.Equal(t, name+".txt", out.String()+"----\n"+text)
		})
	}
}

func TestNothingIsKnown(t *testing.T) {
	text, findings, err := Draft(fstest.MapFS{"README.md": {}, "package.json": {Data: []byte("{")}, "vendor/go.mod": {Data: []byte("module x")}}, "a")
	if text != "" || len(findings) > 0 || err != nil {
		t.Errorf("%q %v %v", text, findings, err)
	}
}
