"""Why EMP+SVM is better here than published: choices its paper leaves open. `python -m experiments.compared.emp`.

The SVM on principal components alone shows what the morphological profiles add.
"""

from experiments.compared.common import by_svm, draw, said, write
from hsi_al.methods.emp_svm import EmpSvmConfig
from hsi_al.methods.emp_svm.extractor import EmpExtractor, principal_components
from hsi_al.methods.grid_svm import GridSvm
from hsi_al.scenes.catalogue import load_catalogue_scene
from hsi_al.scenes.scene import Scene

VARIANTS = {
    "as configured: 3 components, sides 3, 7, 11, 15, 19, plain": EmpSvmConfig(),
    "by reconstruction": EmpSvmConfig(reconstruction=True),
    "1 component": EmpSvmConfig(components=1),
    "99 % of the variance": EmpSvmConfig(components=0.99),
    "sides 3, 5, 7, 9": EmpSvmConfig(radii=[1, 2, 3, 4]),
    "side 3 only": EmpSvmConfig(radii=[1]),
}


def measure(scene: Scene, per_class: int = 200) -> list[list[str]]:
    """Return a header and one row per variant."""
    drawn, svm = draw(scene, per_class), GridSvm()
    tables = {name: EmpExtractor(scene.cube, settings).table for name, settings in VARIANTS.items()}
    tables["no profile: 3 components"] = principal_components(scene.cube, 3).reshape(3, -1).T
    rows = [["features", "D", "OA all %", "OA held-out %", "SVM"]]
    for name, table in tables.items():
        rows.append([name, str(table.shape[1]), *by_svm(table, drawn, svm), svm.parameters])
        said(rows)
    return rows


if __name__ == "__main__":
    write("emp", "", measure(load_catalogue_scene("indian_pines", None)))
