"""The control plane and what it needs: certificates, processes, kubeconfigs, manifests, and a supervisor."""
