package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Tenant has what the controller under test keeps of one, as generated types would.
type Tenant struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              TenantSpec   `json:"spec,omitempty"`
	Status            TenantStatus `json:"status,omitempty"`
}

type Person struct {
	Email string `json:"email,omitempty"`
	Name  string `json:"name,omitempty"`
	Role  string `json:"role,omitempty"`
}

type TenantSpec struct {
	DisplayName       string            `json:"displayName,omitempty"`
	Subdomain         string            `json:"subdomain,omitempty"`
	Tier              string            `json:"tier,omitempty"`
	State             string            `json:"state,omitempty"`
	Owner             Person            `json:"owner,omitempty"`
	Members           []Person          `json:"members,omitempty"`
	Database          *TenantDatabase   `json:"database,omitempty"`
	Quotas            map[string]int64  `json:"quotas,omitempty"`
	Settings          map[string]string `json:"settings,omitempty"`
	DeletionPolicy    string            `json:"deletionPolicy,omitempty"`
	DeletionGraceDays int64             `json:"deletionGraceDays,omitempty"`
}

type TenantDatabase struct {
	Isolation  string   `json:"isolation,omitempty"`
	Extensions []string `json:"extensions,omitempty"`
}

type QuotaUse struct {
	Resource string `json:"resource"`
	Limit    int64  `json:"limit"`
	Used     int64  `json:"used"`
}

type TenantStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	InputsHash         string             `json:"inputsHash,omitempty"`
	Subdomain          string             `json:"subdomain,omitempty"`
	TenantID           string             `json:"tenantID,omitempty"`
	Namespace          string             `json:"namespace,omitempty"`
	Quotas             []QuotaUse         `json:"quotas,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

type TenantList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Tenant `json:"items"`
}

func (t *Tenant) DeepCopyObject() runtime.Object {
	out := *t
	t.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Spec.Members = append([]Person(nil), t.Spec.Members...)
	out.Spec.Quotas = copyMap(t.Spec.Quotas)
	out.Spec.Settings = copyMap(t.Spec.Settings)
	if t.Spec.Database != nil {
		database := *t.Spec.Database
		database.Extensions = append([]string(nil), database.Extensions...)
		out.Spec.Database = &database
	}
	out.Status.Quotas = append([]QuotaUse(nil), t.Status.Quotas...)
	out.Status.Conditions = append([]metav1.Condition(nil), t.Status.Conditions...)
	return &out
}

func copyMap[V any](from map[string]V) map[string]V {
	if from == nil {
		return nil
	}
	to := make(map[string]V, len(from))
	for key, value := range from {
		to[key] = value
	}
	return to
}

func (l *TenantList) DeepCopyObject() runtime.Object {
	out := *l
	out.Items = make([]Tenant, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*Tenant)
	}
	return &out
}

// Greeting is the kind of examples/greeting.c.
type Greeting struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              struct {
		Who string `json:"who,omitempty"`
	} `json:"spec,omitempty"`
	Status struct {
		Message string `json:"message,omitempty"`
	} `json:"status,omitempty"`
}

type GreetingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Greeting `json:"items"`
}

func (g *Greeting) DeepCopyObject() runtime.Object {
	out := *g
	g.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

func (l *GreetingList) DeepCopyObject() runtime.Object {
	out := *l
	out.Items = append([]Greeting(nil), l.Items...)
	return &out
}

func register(scheme *runtime.Scheme) {
	tenants := schema.GroupVersion{Group: "tenantry.dev", Version: "v1alpha1"}
	scheme.AddKnownTypes(tenants, &Tenant{}, &TenantList{})
	metav1.AddToGroupVersion(scheme, tenants)
	greetings := schema.GroupVersion{Group: "example.tenantry.dev", Version: "v1"}
	scheme.AddKnownTypes(greetings, &Greeting{}, &GreetingList{})
	metav1.AddToGroupVersion(scheme, greetings)
}
