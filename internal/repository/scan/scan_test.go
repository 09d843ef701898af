package scan

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func tree(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, content := range files {
		m[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return m
}

func found(t *testing.T, files map[string]string) []string {
	t.Helper()
	result, err := Scan(t.Context(), tree(files))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range result.Findings {
		lines = append(lines, fmt.Sprintf("%s %s: %s", f.Kind, f.Path, f.Reason))
	}
	return lines
}

func check(t *testing.T, files map[string]string, want ...string) {
	t.Helper()
	if got := found(t, files); !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestPipelines(t *testing.T) {
	check(t, map[string]string{
		".buildit.kdl": "", "services/api/.buildit.kdl": "", ".buildit/nightly.kdl": "", ".buildit/data/x.kdl": "",
		"docs/other.kdl": "", "node_modules/x/.buildit.kdl": "", "services/.buildit/x.kdl": "",
	},
		"pipeline .buildit.kdl: a file named .buildit.kdl is a pipeline in any folder",
		"pipeline .buildit/nightly.kdl: every *.kdl in .buildit is a pipeline",
		"pipeline services/api/.buildit.kdl: a file named .buildit.kdl is a pipeline in any folder",
	)
}

func TestTerraformRootsAreNoModules(t *testing.T) {
	check(t, map[string]string{
		"live/prod/main.tf":      "terraform {\n  backend \"s3\" {\n    key = \"x\"\n  }\n}\nmodule \"net\" {\n  source = \"../../modules/net\"\n}\n",
		"live/stage/main.tf":     "provider \"aws\" {\n  region = \"eu-west-1\"\n}\nmodule \"net\" { source = \"../../modules/net\" }\n",
		"live/stage/vars.tf":     "variable \"x\" {}\n",
		"modules/net/main.tf":    "terraform {\n  required_providers {\n    aws = { source = \"hashicorp/aws\" }\n  }\n}\nresource \"aws_vpc\" \"this\" {}\n",
		"modules/unused/main.tf": "resource \"x\" \"y\" {}\n",
		"legacy/main.tf":         "provider \"aws\" {}\nresource \"x\" \"y\" {}\n",
		"caller/main.tf":         "terraform {}\nmodule \"l\" {\n  source = \"../legacy\"\n}\n",
		"cloud/main.tf":          "terraform {\n  cloud {\n    organization = \"a\"\n  }\n}\n",
		"called-root/main.tf":    "terraform {\n  backend \"local\" {}\n}\n",
		"uses-root/main.tf":      "module \"r\" {\n  source = \"../called-root\"\n}\n",
		"plain/main.tofu":        "resource \"x\" \"y\" {}\n",
		"comments/main.tf":       "# provider \"aws\" {}\n/* terraform { backend \"s3\" {} } */\n// resource \"a\" \"b\" {}\nlocals {\n  a = \"terraform { backend \\\"s3\\\" {\"\n  b = <<-EOT\n    provider \"aws\" {\n  EOT\n  c = \"${x(\"}\")} {\"\n}\n",
		"broken/main.tf":         "resource \"x\" {\n  a = \"unfinished\n",
		".terraform/x/main.tf":   "provider \"aws\" {}\n",
	},
		"terraform-root broken: resources in main.tf, and no other folder calls it as a module",
		`terraform-root called-root: backend "local" in main.tf: it keeps a state of its own`,
		"terraform-root caller: a terraform block, and no other folder calls it as a module",
		"terraform-root cloud: a cloud block in main.tf: it keeps a state of its own",
		`terraform-root live/prod: backend "s3" in main.tf: it keeps a state of its own`,
		`terraform-root live/stage: provider "aws" in main.tf, and no other folder calls it as a module`,
		"terraform-root plain: resources in main.tofu, and no other folder calls it as a module",
		"terraform-root uses-root: resources in main.tf, and no other folder calls it as a module",
	)
}

const deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\n"

func TestManifests(t *testing.T) {
	check(t, map[string]string{
		"k8s/app.yaml":             deployment + "---\n# a comment\napiVersion: \"v1\"  # core\nkind: 'Service'\n",
		"k8s/more.yml":             "\xef\xbb\xbf" + deployment,
		"config/values.yaml":       "a: 1\nkind: no\n",
		"nested/values.yaml":       "x:\n  apiVersion: v1\n  kind: Pod\n",
		"home/config":              "apiVersion: v1\nkind: Config\n",
		"home/kubeconfig.yaml":     "apiVersion: v1\nkind: Config\n",
		"skaffold.yaml":            "apiVersion: skaffold/v2beta29\nkind: Config\n",
		"templated/x.yaml":         "{{- if .x }}\n" + deployment + "{{- end }}\n",
		"binary/x.yaml":            "apiVersion: v1\x00\nkind: Pod\n",
		"compose/compose.yaml":     "services:\n  a:\n    image: b\n",
		".github/workflows/x.yaml": "on: push\njobs: {}\n",
		"catalog-info.yaml":        "apiVersion: backstage.io/v1alpha1\nkind: Component\n",
		"crlf/x.yaml":              strings.ReplaceAll(deployment, "\n", "\r\n"),
	},
		"manifests crlf: 1 object in 1 file: Deployment",
		"manifests k8s: 3 objects in 2 files: Deployment, Service",
	)
}

func TestKustomize(t *testing.T) {
	check(t, map[string]string{
		"app/base/kustomization.yaml":          "resources:\n- deployment.yaml\n- service.yaml\n",
		"app/base/deployment.yaml":             deployment,
		"app/overlays/prod/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  # the base\n  - ../../base\n  - https://example.com/x\n  - ../../../../outside\n",
		"app/overlays/dev/kustomization.yml":   "resources: [../../base, extra]\n",
		"app/overlays/dev/extra/x.yaml":        deployment,
		"components/log/kustomization.yaml":    "kind: Component\n",
	},
		"kustomize-base app/base: kustomization.yaml, which the one in app/overlays/prod builds on",
		"kustomize-base components/log: kustomization.yaml of kind Component, to be built on",
		"kustomize-overlay app/overlays/dev: kustomization.yml, which no other builds on",
		"kustomize-overlay app/overlays/prod: kustomization.yaml, which no other builds on",
	)
}

func TestCharts(t *testing.T) {
	check(t, map[string]string{
		"chart/Chart.yaml":              "apiVersion: v2\nname: x\ntype: application\n",
		"chart/templates/a.yaml":        deployment,
		"chart/crds/crd.yaml":           deployment,
		"chart/charts/redis/Chart.yaml": "apiVersion: v2\nname: redis\n",
		"charts/one/Chart.yaml":         "apiVersion: v1\nname: one\n",
		"charts/lib/Chart.yaml":         "apiVersion: v2\ntype: library\n",
		"odd/Chart.yaml":                "version: 1\n",
	},
		"helm-chart chart: Chart.yaml of an application chart, in no other chart's charts/",
		"helm-chart charts/one: Chart.yaml of an application chart, in no other chart's charts/",
	)
}

// FuzzScan: whatever a file holds, a scan ends, and names no path outside the tree.
func FuzzScan(f *testing.F) {
	f.Add("a/main.tf", "module \"x\" {\n source = \"../../../etc\"\n}")
	f.Add("kustomization.yaml", "resources:\n- ../../x\n- [a")
	f.Add("x.yaml", deployment)
	f.Add("x.tf", "a = <<\n\"${\"${\"")
	f.Fuzz(func(t *testing.T, name, content string) {
		if !fs.ValidPath(name) || name == "." {
			return
		}
		result, err := Scan(t.Context(), tree(map[string]string{name: content, "b/main.tf": content, "c/kustomization.yaml": content}))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range result.Findings {
			if !fs.ValidPath(f.Path) || f.Reason == "" {
				t.Fatalf("%+v", f)
			}
		}
	})
}

func BenchmarkMonorepoOf5000Files(b *testing.B) {
	files := map[string]string{}
	for i := range 500 {
		dir := fmt.Sprintf("services/s%03d", i)
		files[path.Join(dir, ".buildit.kdl")] = "pipeline \"x\"\n"
		files[path.Join(dir, "infra/main.tf")] = strings.Repeat("resource \"x\" \"y\" {\n  a = \"b\"\n}\n", 50) + "terraform {\n  backend \"s3\" {}\n}\n"
		files[path.Join(dir, "deploy/app.yaml")] = deployment + strings.Repeat("  label: value\n", 100)
		for j := range 7 {
			files[path.Join(dir, "src", fmt.Sprintf("f%d.go", j))] = "package x\n"
		}
	}
	t := tree(files)
	b.ResetTimer()
	for b.Loop() {
		result, err := Scan(b.Context(), t)
		if err != nil || result.Files != 5000 || len(result.Findings) != MaxFindings {
			b.Fatal(len(result.Findings), result.Files, err)
		}
	}
}
