package deploy_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const manifests = root + "/deploy/k8s"

// rendering is what kustomize makes of one folder.
type rendering struct {
	name      string
	text      []byte
	objects   []runtime.Object
	workloads []workload

	monitors []serviceMonitor
	rules    []prometheusRule
}

// workload is anything that makes pods.
type workload struct {
	name     string
	meta     metav1.ObjectMeta
	selector *metav1.LabelSelector
	template corev1.PodTemplateSpec
	replicas int
}

// eachRendering runs check on the base and on every overlay.
func eachRendering(t *testing.T, check func(t *testing.T, r *rendering)) {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(manifests, "overlays", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) < 2 {
		t.Fatalf("overlays: %v; want local and production", folders)
	}
	for _, folder := range append(folders, filepath.Join(manifests, "base")) {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			t.Parallel()
			check(t, render(t, folder))
		})
	}
}

func render(t *testing.T, folder string) *rendering {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatalf("kustomize %s: %v", folder, err)
	}
	r := &rendering{name: filepath.Base(folder)}
	if r.text, err = resources.AsYaml(); err != nil {
		t.Fatal(err)
	}
	decoder := strictDecoder(t)
	for _, resource := range resources.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		if resource.GetGvk().Group == monitoringGroup {
			r.addMonitoring(t, resource.GetKind(), text)
			continue
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", resource.CurId(), err)
		}
		r.add(object)
	}
	r.scale()
	return r
}

// scale fills in the replicas that autoscalers decide: the fewest.
func (r *rendering) scale() {
	for _, hpa := range all[*autoscalingv2.HorizontalPodAutoscaler](r) {
		for i, w := range r.workloads {
			if w.name == "deployment "+hpa.Spec.ScaleTargetRef.Name && w.replicas == 0 && hpa.Spec.MinReplicas != nil {
				r.workloads[i].replicas = int(*hpa.Spec.MinReplicas)
			}
		}
	}
}

// replicas is 0 where it is not said.
func replicas(n *int32) int {
	if n == nil {
		return 0
	}
	return int(*n)
}

// strictDecoder refuses fields that the Kubernetes types do not have, doubled ones,
// and kinds that are not expected here.
func strictDecoder(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}

func (r *rendering) add(object runtime.Object) {
	r.objects = append(r.objects, object)
	switch o := object.(type) {
	case *appsv1.Deployment:
		r.workloads = append(r.workloads, workload{"deployment " + o.Name, o.ObjectMeta, o.Spec.Selector, o.Spec.Template, replicas(o.Spec.Replicas)})
	case *appsv1.StatefulSet:
		r.workloads = append(r.workloads, workload{"stateful set " + o.Name, o.ObjectMeta, o.Spec.Selector, o.Spec.Template, replicas(o.Spec.Replicas)})
	}
}

// all lists the objects of one type.
func all[T runtime.Object](r *rendering) []T {
	var out []T
	for _, o := range r.objects {
		if typed, ok := o.(T); ok {
			out = append(out, typed)
		}
	}
	return out
}

// named finds the object of that type and name.
func named[T interface {
	runtime.Object
	metav1.Object
}](r *rendering, name string) (T, bool) {
	for _, o := range all[T](r) {
		if o.GetName() == name {
			return o, true
		}
	}
	var none T
	return none, false
}

// container is one container of a workload; program is ours that runs in it, if any.
type container struct {
	corev1.Container
	where    string
	workload workload
	init     bool
	program  program
	ours     bool
}

var imagePattern = regexp.MustCompile(`^(?:[^/]+/)?pymessage/([a-z]+)(?::(.+))?$`)

// containers lists all containers, those that run before the others included.
func (r *rendering) containers() []container {
	var out []container
	for _, w := range r.workloads {
		add := func(c corev1.Container, init bool) {
			k := container{Container: c, where: w.name + ", container " + c.Name, workload: w, init: init}
			if m := imagePattern.FindStringSubmatch(c.Image); m != nil {
				k.program, k.ours = programNamed(m[1])
			}
			out = append(out, k)
		}
		for _, c := range w.template.Spec.InitContainers {
			add(c, true)
		}
		for _, c := range w.template.Spec.Containers {
			add(c, false)
		}
	}
	return out
}

// servers lists the containers that run our programs.
func (r *rendering) servers() []container {
	return slices.DeleteFunc(r.containers(), func(c container) bool { return c.init || !c.ours })
}

// environment is what a container gets. Where the rendering has no secrets, because
// they are the operator's, samples take their place.
func (r *rendering) environment(t *testing.T, c container) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef == nil {
			t.Fatalf("%s: envFrom other than a ConfigMap: its names could not be checked", c.where)
		}
		config, ok := named[*corev1.ConfigMap](r, from.ConfigMapRef.Name)
		if !ok {
			t.Errorf("%s: there is no ConfigMap %s", c.where, from.ConfigMapRef.Name)
			continue
		}
		for name, value := range config.Data {
			env[name] = value
		}
	}
	for _, e := range c.Env {
		if _, doubled := env[e.Name]; doubled {
			t.Errorf("%s: %s is given twice", c.where, e.Name)
		}
		env[e.Name] = r.value(t, c, e)
	}
	return env
}

func (r *rendering) value(t *testing.T, c container, e corev1.EnvVar) string {
	t.Helper()
	if e.ValueFrom == nil {
		return e.Value
	}
	ref := e.ValueFrom.SecretKeyRef
	if ref == nil || ref.Optional != nil {
		t.Errorf("%s: %s comes from something else than a secret that must be there", c.where, e.Name)
		return ""
	}
	if len(all[*corev1.Secret](r)) == 0 {
		return sampleSecrets[ref.Key]
	}
	secret, ok := named[*corev1.Secret](r, ref.Name)
	value, has := secretValue(secret, ref.Key)
	if !ok || !has {
		t.Errorf("%s: there is no secret %s with key %s", c.where, ref.Name, ref.Key)
	}
	return value
}

func secretValue(s *corev1.Secret, key string) (string, bool) {
	if s == nil {
		return "", false
	}
	if value, ok := s.StringData[key]; ok {
		return value, true
	}
	value, ok := s.Data[key]
	return string(value), ok
}

// matches says whether a selector selects these labels; nothing else than equality
// is used here.
func matches(t *testing.T, s *metav1.LabelSelector, podLabels map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(labels.Set(podLabels))
}

// selected lists the workloads whose pods a selector selects.
func (r *rendering) selected(t *testing.T, s *metav1.LabelSelector) []workload {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(r.workloads), func(w workload) bool {
		return !matches(t, s, w.template.Labels)
	})
}

// only is the one workload that a selector has to select.
func (r *rendering) only(t *testing.T, what string, labels map[string]string) (workload, bool) {
	t.Helper()
	found := r.selected(t, &metav1.LabelSelector{MatchLabels: labels})
	if len(labels) == 0 || len(found) != 1 {
		t.Errorf("%s selects %d workloads, want one", what, len(found))
		return workload{}, false
	}
	return found[0], true
}

func objectName(o runtime.Object) string {
	return fmt.Sprintf("%s %s", strings.TrimPrefix(fmt.Sprintf("%T", o), "*v1."), o.(metav1.Object).GetName())
}
