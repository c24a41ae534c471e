{{/* Names begin with the release, unless that has the chart's name already. */}}
{{- define "shoal.name" -}}
{{- if contains "shoal" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-shoal" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "shoal.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "shoal.selector" . }}
{{- end }}

{{/* What every pod of the release has and no other. */}}
{{- define "shoal.selector" -}}
app.kubernetes.io/name: shoal
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "shoal.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{- define "shoal.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "shoal.name" .) }}
{{- end }}

{{/* The coordinators' addresses as a list of TOML. Names are those within the namespace. */}}
{{- define "shoal.coordinators" -}}
{{- $name := include "shoal.name" . -}}
{{- $list := list -}}
{{- range $number := untilStep 1 (add1 .Values.coordinator.replicas | int) 1 -}}
{{- $list = append $list (printf "%s-coordinator-%d.%s-coordinators:7000" $name $number $name) -}}
{{- end -}}
{{ toJson $list }}
{{- end }}

{{/* A section of a settings file: JSON's texts, numbers and lists are TOML's. */}}
{{- define "shoal.settings" -}}
{{- range $key, $value := . }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}

{{/* [node] of every role. */}}
{{- define "shoal.node" -}}
[node]
cluster_id = {{ .Values.clusterId | quote }}
metrics_listen = "0.0.0.0:9464"
{{- if .Values.tls.enabled }}
certs = "/etc/shoal/certs"
{{- else }}
insecure = true
{{- end }}
{{- include "shoal.settings" .Values.node }}
{{- end }}

{{/* Where the store is, for coordinators and workers. */}}
{{- define "shoal.store" -}}
store = {{ .Values.store.uri | default "/store" | quote }}
{{- with .Values.store.options }}
store_options = { {{ range $at, $key := keys . | sortAlpha }}{{ if $at }}, {{ end }}{{ $key }} = {{ index $.Values.store.options $key | toString | quote }}{{ end }} }
{{- end }}
{{- end }}

{{- define "shoal.claim" -}}
{{ .Values.store.volume.existingClaim | default (printf "%s-store" (include "shoal.name" .)) }}
{{- end }}

{{/* Pods of one role: dict root, role, port, settings (of the role). */}}
{{- define "shoal.pod" -}}
{{- $root := .root }}
{{- $name := include "shoal.name" $root }}
{{- $own := index $root.Values .role }}
{{- $hasStore := ne .role "router" }}
metadata:
  labels:
    {{- include "shoal.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  annotations:
    # Settings that change restart the pods, one after another.
    checksum/settings: {{ include (print $root.Template.BasePath "/settings.yaml") $root | sha256sum }}
spec:
  serviceAccountName: {{ include "shoal.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # A node drains for at most 17 s, after preStop.
  terminationGracePeriodSeconds: 40
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  topologySpreadConstraints:
    {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: {{ $root.Values.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "shoal.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $.role }}
    {{- end }}
  {{- with $own.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ include "shoal.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [{{ .role }}, --config, /etc/shoal/settings/{{ .role }}.toml]
      env:
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        {{- if .numbered }}
        - name: POD_NUMBER
          valueFrom: {fieldRef: {fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']"}}
        - name: SHOAL__NODE__NAME
          value: {{ .role }}-$(POD_NUMBER)
        - name: SHOAL__NODE__ADVERTISE
          value: $(POD_NAME).{{ $name }}-{{ .role }}s:{{ .port }}
        {{- else }}
        - name: POD_IP
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
        - name: SHOAL__NODE__NAME
          value: $(POD_NAME)
        - name: SHOAL__NODE__ADVERTISE
          value: $(POD_IP):{{ .port }}
        {{- end }}
        {{- if eq .role "coordinator" }}
        - name: SHOAL__COORDINATOR__RAFT_ID
          value: $(POD_NUMBER)
        # For commands in the pod: kubectl exec … -- shoal status.
        - name: SHOAL_COORDINATORS
          value: {{ include "shoal.coordinators" $root | fromJsonArray | join "," }}
        - name: SHOAL_URL
          value: {{ ternary "https" "http" $root.Values.tls.enabled }}://{{ $name }}:{{ $root.Values.router.service.http }}
        {{- if $root.Values.tls.enabled }}
        - name: SHOAL_CERTS
          value: /etc/shoal/certs
        - name: SHOAL_TOKEN_FILE
          value: /etc/shoal/token/admin.token
        {{- end }}
        {{- end }}
        # A folder below the volume: the node closes it to everybody else, which needs its owner.
        - name: SHOAL__NODE__DATA_DIR
          value: /var/lib/shoal/node
      {{- if and $hasStore $root.Values.store.credentialsSecret }}
      envFrom:
        - secretRef: {name: {{ $root.Values.store.credentialsSecret }}}
      {{- end }}
      ports:
        - {name: grpc, containerPort: {{ .port }}}
        {{- if eq .role "router" }}
        - {name: http, containerPort: 8000}
        {{- end }}
        - {name: metrics, containerPort: 9464}
      # A node reads what it keeps on its disk before it has started; that takes minutes at most.
      startupProbe:
        exec: {command: [/usr/bin/shoal, health, --config, /etc/shoal/settings/{{ .role }}.toml, --for, startup]}
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 150
      readinessProbe:
        exec: {command: [/usr/bin/shoal, health, --config, /etc/shoal/settings/{{ .role }}.toml, --for, readiness]}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      # Asks for no other node: the loss of a quorum restarts nobody.
      livenessProbe:
        exec: {command: [/usr/bin/shoal, health, --config, /etc/shoal/settings/{{ .role }}.toml, --for, liveness]}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      lifecycle:
        # Time for the pod to leave the addresses of its service; SIGTERM then drains.
        preStop: {sleep: {seconds: 5}}
      resources: {{- toYaml $own.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: data, mountPath: /var/lib/shoal}
        - {name: settings, mountPath: /etc/shoal/settings, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- if $root.Values.tls.enabled }}
        - {name: certs, mountPath: /etc/shoal/certs, readOnly: true}
        {{- if eq .role "coordinator" }}
        - {name: token, mountPath: /etc/shoal/token, readOnly: true}
        {{- end }}
        {{- end }}
        {{- if and $hasStore (not $root.Values.store.uri) }}
        - {name: store, mountPath: /store}
        {{- end }}
        {{- with $own.volumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: settings
      configMap: {name: {{ $name }}-settings}
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- if eq .role "router" }}
    - name: data
      emptyDir: {sizeLimit: 64Mi}
    {{- end }}
    {{- if $root.Values.tls.enabled }}
    - name: certs
      secret: {secretName: {{ index $root.Values.tls (printf "%sSecret" .role) }}, defaultMode: 0440}
    {{- if eq .role "coordinator" }}
    - name: token
      secret: {secretName: {{ $root.Values.token.secret }}, defaultMode: 0440}
    {{- end }}
    {{- end }}
    {{- if and $hasStore (not $root.Values.store.uri) }}
    - name: store
      persistentVolumeClaim: {claimName: {{ include "shoal.claim" $root }}}
    {{- end }}
    {{- with $own.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* A StatefulSet with pods from number 1 on, so that they are called as their certificates: dict root, role, port. */}}
{{- define "shoal.set" -}}
{{- $root := .root }}
{{- $name := include "shoal.name" $root }}
{{- $own := index $root.Values .role }}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $name }}-{{ .role }}
  labels:
    {{- include "shoal.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
spec:
  serviceName: {{ $name }}-{{ .role }}s
  replicas: {{ $own.replicas }}
  ordinals: {start: 1}
  # No node waits for another one to start; restarts go one by one all the same.
  podManagementPolicy: Parallel
  minReadySeconds: 5
  selector:
    matchLabels:
      {{- include "shoal.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .role }}
  template:
    {{- include "shoal.pod" (set . "numbered" true) | trim | nindent 4 }}
  {{- with $own.storage }}
  volumeClaimTemplates:
    - apiVersion: v1
      kind: PersistentVolumeClaim
      metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources: {requests: {storage: {{ .size }}}}
  {{- end }}
{{- end }}
