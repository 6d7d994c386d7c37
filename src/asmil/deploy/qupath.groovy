// Loads what asmil wrote of a slide into QuPath (0.4 or newer): tiles with attention and evidence, tissue, outlines.
// Open this file in Automate > Script editor; Run is for the open image, Run for project for all of them.
import static qupath.lib.scripting.QP.*

def folder = new File(FOLDER_OF_THE_RUN)
if (!folder.isDirectory()) {
    println "asmil: ${folder} is not there; write this script again, with asmil qupath"
    return
}

// asmil names a slide by its file without the suffix; a name that cannot be a file's is written otherwise there
def image = getProjectEntry()?.getImageName() ?: getCurrentServer().getMetadata().getName()
def written = NAMES_OF_FILES
def place = { kind, slide -> new File(new File(folder, kind), written.getOrDefault(slide, slide) + '.geojson') }
def stem = place('figures', image).isFile() ? image : image.replaceFirst(/(?i)SUFFIXES$/, '')
def file = { kind -> place(kind, stem) }
if (!file('figures').isFile()) {
    println "asmil: nothing of ${image} in ${folder}; an image is found by the name of its slide, ${stem}"
    return
}

// tiles of asmil are never edited by hand: those of an earlier call are replaced
removeObjects(getDetectionObjects().findAll { it.isTile() && it.getMeasurements().containsKey('attention') }, true)
importObjectsFromFile(file('figures').getPath())

// annotations may have been edited here: an image that has some keeps them
def drawn = ['tissue', 'outlines'].findAll { file(it).isFile() }
if (getAnnotationObjects().isEmpty())
    drawn.each { importObjectsFromFile(file(it).getPath()) }
else if (drawn)
    println "asmil: ${stem} has annotations, which stay; ${drawn.join(' and ')} not loaded"
fireHierarchyUpdate()
println "asmil: ${stem}: ${getDetectionObjects().size()} tiles, ${getAnnotationObjects().size()} annotations"
