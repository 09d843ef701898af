package scan

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

type kustomization struct {
	file      string
	component bool
	builds    []string // resources, bases and components that it names
}

type chart struct{ library bool }

// foreign are groups whose objects look like Kubernetes' and are read by a tool,
// never by a cluster.
var foreign = []string{"kustomize.config.k8s.io/", "skaffold/", "kind.x-k8s.io/", "kubeadm.k8s.io/", "backstage.io/", "config.k8s.io/", "kubelet.config.k8s.io/", "apiserver.config.k8s.io/", "audit.k8s.io/", "ctlptl.dev/", "devspace/", "k3d.io/"}

// object is the kind of the Kubernetes object that a document holds, "" if it
// holds none.
func (d document) object() string {
	if d.apiVersion == "" || d.kind == "" || d.template {
		return ""
	}
	if strings.ContainsAny(d.apiVersion+d.kind, " {}[]\"'") || d.kind == "Config" && d.apiVersion == "v1" {
		return "" // not plain, or somebody's kubeconfig
	}
	for _, group := range foreign {
		if strings.HasPrefix(d.apiVersion, group) {
			return ""
		}
	}
	if version := path.Base(d.apiVersion); !strings.HasPrefix(version, "v") || strings.Count(d.apiVersion, "/") > 1 {
		return ""
	}
	return d.kind
}

func (s *scanner) manifest(name, dir string) error {
	data, err := s.head(name, maxHead)
	if err != nil {
		return err
	}
	var kinds []string
	for _, d := range documents(data) {
		if kind := d.object(); kind != "" {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) > 0 {
		f := s.folder(dir)
		f.objects = append(f.objects, kinds...)
		f.manifest++
	}
	return nil
}

func (s *scanner) kustomization(name, dir string) error {
	data, err := s.head(name, maxHead)
	if err != nil {
		return err
	}
	k := &kustomization{file: path.Base(name)}
	for _, d := range documents(data) {
		k.component = k.component || d.kind == "Component"
		for _, list := range listKeys {
			k.builds = append(k.builds, d.lists[list]...)
		}
	}
	s.folder(dir).kustom = k
	return nil
}

func (s *scanner) chart(name, dir string) error {
	data, err := s.head(name, maxHead)
	if err != nil {
		return err
	}
	d := documents(data)[0]
	if d.apiVersion != "v1" && d.apiVersion != "v2" {
		s.notice("%s is no chart: its apiVersion is neither v1 nor v2", name)
		return nil
	}
	s.folder(dir).chart = &chart{library: d.typ == "library"}
	return nil
}

func (s *scanner) concludeKustomize() {
	users := map[string]string{}
	for _, dir := range slices.Sorted(maps.Keys(s.folders)) {
		if k := s.folders[dir].kustom; k != nil {
			for _, reference := range k.builds {
				if at := local(dir, reference); at != "" && at != dir {
					users[at] = dir
				}
			}
		}
	}
	for dir, f := range s.folders {
		k := f.kustom
		if k == nil || s.inTemplates(dir) {
			continue
		}
		switch user, used := users[dir]; {
		case used:
			s.found(Base, dir, "%s, which the one in %s builds on", k.file, user)
		case k.component:
			s.found(Base, dir, "%s of kind Component, to be built on", k.file)
		default:
			s.found(Overlay, dir, "%s, which no other builds on", k.file)
		}
	}
}

func (s *scanner) concludeCharts() {
	for dir, f := range s.folders {
		if f.chart == nil || f.chart.library || s.isDependency(dir) {
			continue
		}
		s.found(Chart, dir, "Chart.yaml of an application chart, in no other chart's charts/")
	}
}

// isDependency says whether a chart lies in the charts/ of another one.
func (s *scanner) isDependency(dir string) bool {
	for at := dir; at != "."; at = path.Dir(at) {
		if f := s.folders[path.Dir(path.Dir(at))]; path.Base(path.Dir(at)) == "charts" && f != nil && f.chart != nil {
			return true
		}
	}
	return false
}

// inTemplates says whether a folder belongs to a chart: its templates, its crds.
func (s *scanner) inTemplates(dir string) bool {
	_, found := s.above(dir, func(f *folder) bool { return f.chart != nil })
	return found
}

func (s *scanner) concludeManifests() {
	for dir, f := range s.folders {
		if f.manifest == 0 || s.inTemplates(dir) {
			continue
		}
		if _, built := s.above(dir, func(f *folder) bool { return f.kustom != nil }); built {
			continue // a kustomization decides what of them is applied
		}
		s.found(Manifests, dir, "%s in %s: %s", plural(len(f.objects), "object"), plural(f.manifest, "file"), kinds(f.objects))
	}
}

// kinds lists the first kinds, each once.
func kinds(objects []string) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(objects)))
	if len(sorted) > 5 {
		return strings.Join(sorted[:5], ", ") + fmt.Sprintf(" and %d more", len(sorted)-5)
	}
	return strings.Join(sorted, ", ")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
